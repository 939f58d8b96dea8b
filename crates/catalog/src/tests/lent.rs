//! Work of one account that a client of another does in its stead.

use model::{JobStatus, VaultStatus};

use super::support::{Fixture, TTL, at, new_account, new_vault, registration};
use crate::takeable::{LENT, OWN, takeable_sql};
use crate::tasks::FinishTask;
use crate::vaults::NewVault;
use crate::work::{self, FinishAnswer};
use crate::{CatalogOptions, Client, Work, WorkKind, clients, tasks, vaults};

fn lease(fixture: &Fixture, client: &Client, now: i64, limit: u32) -> Vec<Work> {
    let (account, id) = (&client.account_id, &client.client_id);
    work::lease_next(&fixture.catalog, account, id, "run", at(now), TTL, limit).unwrap()
}

#[test]
fn what_is_lent_goes_to_one_client_and_to_nobody_else() {
    let fixture = Fixture::new();
    let catalog = &fixture.catalog;
    let second = new_account(catalog, 2);
    let (service, other) = (fixture.client("m-1", 0), fixture.client("m-2", 0));
    let theirs = registration("m-3", "key-3");
    let theirs = clients::register(catalog, &second, &theirs, at(0)).unwrap();
    let kept = NewVault {
        kept_by: Some(service.client_id.clone()),
        ..new_vault(catalog, "kept", 1)
    };
    let (lent, task_id) = vaults::create(catalog, &second, &kept, None, at(1)).unwrap();
    let mine = new_vault(catalog, "mine", 2);
    vaults::create(catalog, &fixture.account, &mine, None, at(2)).unwrap();

    assert_eq!(lease(&fixture, &theirs, 3, 9), [], "its own account's");
    let kinds = |leased: &[Work]| {
        leased
            .iter()
            .map(|work| work.vault_id.clone())
            .collect::<Vec<_>>()
    };
    let first = lease(&fixture, &service, 3, 1);
    assert_eq!(
        kinds(&first),
        std::slice::from_ref(&lent.vault_id),
        "the longest waiting is first, whoever's it is"
    );
    let work = &first[0];
    assert_eq!(
        (work.kind, &work.account_id),
        (WorkKind::CreateVault, &second)
    );
    assert!(work.may_be_of(&fixture.account, &service.client_id));
    for stranger in [&other, &theirs] {
        assert!(
            !work.may_be_of(&stranger.account_id, &stranger.client_id),
            "it is held"
        );
    }
    work::release(catalog, &work.work_id, work.epoch, None, at(4)).unwrap();
    let queued = work::get(catalog, task_id.as_str()).unwrap().unwrap();
    assert!(
        !queued.may_be_of(&other.account_id, &other.client_id),
        "another of the first account"
    );
    assert_eq!(kinds(&lease(&fixture, &other, 5, 9)), [mine.vault_id]);

    let again = lease(&fixture, &service, 6, 9);
    assert_eq!(kinds(&again), std::slice::from_ref(&lent.vault_id));
    let report = FinishTask {
        work_id: again[0].work_id.clone(),
        epoch: again[0].epoch,
        outcome: JobStatus::Complete,
        message: None,
        upkeep: None,
    };
    assert_eq!(
        tasks::finish(catalog, &report, at(7)).unwrap(),
        FinishAnswer::Accepted
    );
    let made = vaults::get(catalog, &second, &lent.vault_id).unwrap();
    assert_eq!(made.status, VaultStatus::Created);
    assert!(vaults::get(catalog, &fixture.account, &lent.vault_id).is_err());
}

/// A vault that was asked for before the agent of the service was there.
#[test]
fn what_waits_is_lent_when_somebody_comes() {
    let fixture = Fixture::new();
    let catalog = &fixture.catalog;
    let second = new_account(catalog, 2);
    let service = fixture.client("m-1", 0);
    for (account, name, place) in [
        (&second, "theirs", "/own/theirs"),
        (&second, "elsewhere", "/else/where"),
        (&fixture.account, "mine", "/own/mine"),
    ] {
        let vault = NewVault {
            storage_url: place.to_owned(),
            ..new_vault(catalog, name, 1)
        };
        vaults::create(catalog, account, &vault, None, at(1)).unwrap();
    }
    let keep = || {
        let (account, client) = (&fixture.account, &service.client_id);
        vaults::keep_waiting(catalog, account, client, |_, url| url.starts_with("/own/")).unwrap();
    };
    keep();
    keep();
    let leased = lease(&fixture, &service, 2, 9);
    let accounts: Vec<_> = leased.iter().map(|work| &work.account_id).collect();
    assert_eq!(accounts, [&second, &fixture.account]);
    assert_eq!(leased[0].lent_to.as_ref(), Some(&service.client_id));
    assert_eq!(
        leased[1].lent_to, None,
        "its own account's needs no lending"
    );
}

/// Neither question reads what others have queued.
#[test]
fn each_question_for_work_has_its_index() {
    let fixture = Fixture::sqlite(CatalogOptions::default());
    let database = rusqlite::Connection::open(fixture.folder.path().join("catalog.db")).unwrap();
    for (whose, index) in [
        (OWN, "USING INDEX work_queued (account_id=?"),
        (LENT, "USING INDEX work_lent (lent_to=?"),
    ] {
        let sql = format!("EXPLAIN QUERY PLAN {}", takeable_sql(whose));
        let mut statement = database.prepare(&sql).unwrap();
        let mut rows = statement.raw_query();
        let mut steps = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            steps.push(row.get::<_, String>("detail").unwrap());
        }
        assert!(steps.iter().any(|step| step.contains(index)), "{steps:?}");
        assert!(
            !steps.iter().any(|step| step.starts_with("SCAN")),
            "{steps:?}"
        );
    }
}
