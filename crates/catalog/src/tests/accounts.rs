//! Accounts, keys and clients; and that no account sees what is another's.

use model::{
    AccountId, ClientId, ClientStatus, JobId, JobQuery, PlanId, RestoreId, RestoreQuery, TaskId,
};

use super::support::{Fixture, at, new_account, new_vault, registration};
use crate::access_keys::NewAccessKey;
use crate::clients::ClientFilter;
use crate::plans::{PlanFilter, PlanSwitch, RunningJobs};
use crate::restores::NewRestore;
use crate::vaults::{VaultChange, VaultFilter};
use crate::{
    AccessKeyKind, AccessKeyStatus, Catalog, CatalogError, Entity, PageRequest, Sealed,
    TargetFields, access_keys, accounts, clients, item_errors, jobs, plans, restores, snapshots,
    tasks, vaults,
};

#[test]
fn an_account_is_created_once_with_its_root_key() {
    let fixture = Fixture::new();
    let key = access_keys::identify(&fixture.catalog, "root-1")
        .unwrap()
        .unwrap()
        .key
        .clone();
    assert_eq!(
        (key.account_id.clone(), key.kind),
        (fixture.account.clone(), AccessKeyKind::Root)
    );
    assert_eq!(
        (key.status, key.sealed_secret.0),
        (AccessKeyStatus::Active, vec![1, 2, 3])
    );
    let new = NewAccessKey {
        access_key_id: "other".to_owned(),
        kind: AccessKeyKind::Root,
        client_id: None,
        user_name: None,
        sealed_secret: Sealed(vec![4]),
    };
    let again = accounts::create(&fixture.catalog, &fixture.account, "again", &new, at(1));
    assert!(matches!(
        again,
        Err(CatalogError::AlreadyExists {
            entity: Entity::Account,
            ..
        })
    ));
    // A key id that is taken leaves no account behind.
    let taken = NewAccessKey {
        access_key_id: "root-1".to_owned(),
        ..new
    };
    let other = AccountId::new(2);
    let result = accounts::create(&fixture.catalog, &other, "other", &taken, at(1));
    assert!(matches!(
        result,
        Err(CatalogError::AlreadyExists {
            entity: Entity::AccessKey,
            ..
        })
    ));
    let left = accounts::list(&fixture.catalog).unwrap();
    assert!(left.len() == 1 && left[0].account_id == fixture.account);
}

/// The oldest account is the operator's: one that is made in the same second never takes its place.
#[test]
fn accounts_of_one_second_stay_in_their_order() {
    let fixture = Fixture::new();
    let mut expected = vec![fixture.account.clone()];
    for number in (0..5).rev() {
        let account = AccountId::new(1_000 + number);
        let key = NewAccessKey {
            access_key_id: format!("root-of-{number}"),
            kind: AccessKeyKind::Root,
            client_id: None,
            user_name: None,
            sealed_secret: Sealed(vec![4]),
        };
        accounts::create(&fixture.catalog, &account, "further", &key, at(0)).unwrap();
        expected.push(account);
    }
    let listed = accounts::list(&fixture.catalog).unwrap();
    let ids: Vec<AccountId> = listed
        .into_iter()
        .map(|account| account.account_id)
        .collect();
    assert_eq!(ids, expected);
}

#[test]
fn the_service_is_opened_once() {
    let fixture = Fixture::new();
    let open =
        |order: &str| accounts::open_service(&fixture.catalog, &fixture.account, order).unwrap();
    assert_eq!(
        (open("o-1").order_id.as_str(), open("o-2").is_new),
        ("o-1", false)
    );
    assert_eq!(open("o-3").order_id, "o-1");
    assert!(accounts::open_service(&fixture.catalog, &AccountId::new(99), "o").is_err());
}

/// What a connection remembers of keys is forgotten with every change, whoever makes it, also another program.
#[test]
fn a_change_of_a_key_is_seen_by_the_next_question() {
    let fixture = Fixture::new();
    let other = fixture.open_again();
    let status = |catalog: &Catalog| {
        let found = access_keys::identify(catalog, "root-1").unwrap().unwrap();
        let again = access_keys::identify(catalog, "root-1").unwrap().unwrap();
        assert_eq!(found, again);
        let quick = catalog.try_reading(|reading| access_keys::identify_in(reading, "root-1"));
        let quick = quick.unwrap();
        assert_eq!(quick.is_none(), fixture.place.is_server());
        assert!(quick.is_none_or(|quick| quick.unwrap() == Some(again)));
        found.key.status
    };
    for round in 0..20 {
        let wanted = match round % 2 {
            0 => AccessKeyStatus::Inactive,
            _ => AccessKeyStatus::Active,
        };
        let writer = if round % 3 == 0 {
            &fixture.catalog
        } else {
            &other
        };
        access_keys::set_status(writer, &fixture.account, "root-1", wanted).unwrap();
        assert_eq!((status(&fixture.catalog), status(&other)), (wanted, wanted));
    }
    access_keys::delete(&other, &fixture.account, "root-1").unwrap();
    for catalog in [&fixture.catalog, &other] {
        assert_eq!(access_keys::identify(catalog, "root-1").unwrap(), None);
    }
}

#[test]
fn keys_can_be_switched_and_removed_in_their_account_only() {
    let fixture = Fixture::new();
    let other = new_account(&fixture.catalog, 2);
    let set = |account: &AccountId, status| {
        access_keys::set_status(&fixture.catalog, account, "root-1", status)
    };
    assert!(matches!(
        set(&other, AccessKeyStatus::Inactive),
        Err(CatalogError::NotFound { .. })
    ));
    set(&fixture.account, AccessKeyStatus::Inactive).unwrap();
    let key = access_keys::identify(&fixture.catalog, "root-1")
        .unwrap()
        .unwrap()
        .key
        .clone();
    assert_eq!(key.status, AccessKeyStatus::Inactive);
    assert!(access_keys::delete(&fixture.catalog, &other, "root-1").is_err());
    access_keys::delete(&fixture.catalog, &fixture.account, "root-1").unwrap();
    assert_eq!(
        access_keys::identify(&fixture.catalog, "root-1").unwrap(),
        None
    );
    assert_eq!(
        access_keys::list(&fixture.catalog, &other).unwrap().len(),
        1
    );
}

#[test]
fn a_host_stays_the_same_client() {
    let fixture = Fixture::new();
    let now = std::cell::Cell::new(0);
    let try_register = |machine: &str, key: &str, client_id: Option<&ClientId>| {
        let mut registration = registration(machine, key);
        registration.client_id = client_id.cloned();
        clients::register(
            &fixture.catalog,
            &fixture.account,
            &registration,
            at(now.get()),
        )
    };
    // Each time the agent before has been silent for long enough.
    let register = |machine: &str, key: &str, client_id: Option<&ClientId>| {
        now.set(now.get() + 60);
        try_register(machine, key, client_id).unwrap()
    };
    let first = register("m-1", "key-1", None);
    assert_eq!(first.status, ClientStatus::Activated);
    now.set(now.get() + 59);
    for claim in [None, Some(&first.client_id)] {
        assert!(matches!(
            try_register("m-1", "key-0", claim),
            Err(CatalogError::ClientLive { .. })
        ));
    }
    let reinstalled = register("m-1", "key-2", None);
    assert_eq!(
        (&reinstalled.client_id, &reinstalled.instance_id),
        (&first.client_id, &first.instance_id)
    );
    let new_machine_id = register("m-2", "key-3", Some(&first.client_id));
    assert_eq!(
        (
            &new_machine_id.client_id,
            new_machine_id.machine_id.as_str()
        ),
        (&first.client_id, "m-2")
    );
    let other_host = register("m-1", "key-4", None);
    assert_ne!(other_host.client_id, first.client_id);
    assert_ne!(other_host.instance_id, first.instance_id);
    // A copied state folder: the id counts, the machines stay apart.
    assert_eq!(
        register("m-1", "key-5", Some(&first.client_id)).client_id,
        first.client_id
    );
    assert_eq!(
        register("m-1", "key-6", None).client_id,
        other_host.client_id
    );
    let unknown = ClientId::parse("c-unknown").unwrap();
    assert_eq!(
        register("m-2", "key-7", Some(&unknown)).client_id,
        first.client_id
    );
    // Only the newest key of each client is left.
    let keys: Vec<String> = access_keys::list(&fixture.catalog, &fixture.account)
        .unwrap()
        .into_iter()
        .filter(|key| key.kind == AccessKeyKind::Agent)
        .map(|key| key.access_key_id)
        .collect();
    assert_eq!(keys, ["key-6", "key-7"]);
}

#[test]
fn clients_are_listed_and_fall_silent() {
    let fixture = Fixture::new();
    let one = fixture.client("m-1", 0);
    let two = fixture.client("m-2", 1);
    let vault = fixture.vault(0);
    let plan = fixture.plan_with(&vault, "plan", |spec| {
        spec.instance_id = Some(two.instance_id.clone())
    });
    let list = |filter: ClientFilter| {
        let page = clients::list(
            &fixture.catalog,
            &fixture.account,
            &filter,
            PageRequest::first(10),
        )
        .unwrap();
        let ids: Vec<ClientId> = page
            .rows
            .into_iter()
            .map(|client| client.client_id)
            .collect();
        (ids, page.total)
    };
    assert_eq!(
        list(ClientFilter::default()),
        (vec![two.client_id.clone(), one.client_id.clone()], 2)
    );
    let ids = Some(vec![one.client_id.to_string()]);
    assert_eq!(
        list(ClientFilter {
            client_ids: ids,
            ..ClientFilter::default()
        }),
        (vec![one.client_id.clone()], 1)
    );
    let instances = Some(vec![two.instance_id.to_string(), "i-x".to_owned()]);
    let filter = ClientFilter {
        instance_ids: instances,
        ..ClientFilter::default()
    };
    assert_eq!(list(filter), (vec![two.client_id.clone()], 1));
    assert_eq!(
        list(ClientFilter {
            client_ids: Some(Vec::new()),
            ..ClientFilter::default()
        }),
        (Vec::new(), 0)
    );
    let get = |id: &ClientId| clients::get(&fixture.catalog, &fixture.account, id).unwrap();
    assert!(get(&two.client_id).is_protected && !get(&one.client_id).is_protected);
    plans::switch(
        &fixture.catalog,
        &fixture.account,
        &plan.plan_id,
        PlanSwitch::Disabled,
        at(2),
    )
    .unwrap();
    assert!(!get(&two.client_id).is_protected);
    clients::heartbeat(&fixture.catalog, &fixture.account, &two.client_id, at(100)).unwrap();
    assert_eq!(
        clients::deactivate_silent(&fixture.catalog, at(50), at(101)).unwrap(),
        1
    );
    assert_eq!(get(&one.client_id).status, ClientStatus::Deactivated);
    assert_eq!(get(&two.client_id).status, ClientStatus::Activated);
    clients::heartbeat(&fixture.catalog, &fixture.account, &one.client_id, at(102)).unwrap();
    assert_eq!(get(&one.client_id).status, ClientStatus::Activated);
    let found =
        clients::find_by_instance(&fixture.catalog, &fixture.account, &one.instance_id).unwrap();
    assert_eq!(found.unwrap().client_id, one.client_id);
}

/// It goes when it says so; until then nothing that it sends makes it ACTIVATED.
#[test]
fn a_client_that_is_uninstalled() {
    let fixture = Fixture::new();
    let (catalog, account) = (&fixture.catalog, &fixture.account);
    let client = fixture.client("m-1", 0);
    let id = &client.client_id;
    let status = || clients::get(catalog, account, id).unwrap().status;
    let has_key = || {
        access_keys::identify(catalog, "key-m-1-0")
            .unwrap()
            .is_some()
    };
    assert!(
        !clients::uninstalled(catalog, account, id, at(1)).unwrap(),
        "nobody asked"
    );
    assert!(!clients::is_leaving(catalog, id).unwrap());
    clients::request_uninstall(catalog, account, id, at(0), at(2)).unwrap();
    clients::heartbeat(catalog, account, id, at(3)).unwrap();
    assert_eq!(status(), ClientStatus::Uninstalling);
    assert!(clients::is_leaving(catalog, id).unwrap() && has_key());
    let stranger = new_account(catalog, 2);
    assert!(!clients::uninstalled(catalog, &stranger, id, at(4)).unwrap());
    assert!(clients::request_uninstall(catalog, &stranger, id, at(0), at(4)).is_err());
    assert!(clients::uninstalled(catalog, account, id, at(5)).unwrap());
    assert_eq!((status(), has_key()), (ClientStatus::NotInstalled, false));

    // Registered again it is the same client; silent for long it is not waited for.
    let again = clients::register(catalog, account, &registration("m-1", "key-2"), at(6)).unwrap();
    assert_eq!(
        (&again.client_id, again.status),
        (id, ClientStatus::Activated)
    );
    clients::request_uninstall(catalog, account, id, at(7), at(8)).unwrap();
    assert_eq!(status(), ClientStatus::NotInstalled);
    clients::heartbeat(catalog, account, id, at(9)).unwrap();
    assert!(
        clients::is_leaving(catalog, id).unwrap(),
        "it is asked when it comes back"
    );
}

fn is_not_found<T: std::fmt::Debug>(result: Result<T, CatalogError>) {
    assert!(
        matches!(result, Err(CatalogError::NotFound { .. })),
        "{result:?}"
    );
}

/// Every function that takes an account, called with a stranger's.
#[test]
fn accounts_do_not_see_each_other() {
    let fixture = Fixture::new();
    let catalog = &fixture.catalog;
    let stranger = new_account(catalog, 2);
    let client = fixture.client("m-1", 0);
    let vault = fixture.vault(0);
    let plan = fixture.plan(&vault, "plan");
    let ended = fixture.run_job(&client, &plan, "hash", 5);
    let running = fixture.job(&plan, 7);
    let snapshot = snapshots::get_by_hash(catalog, &fixture.account, &vault, "hash").unwrap();
    let new_restore = NewRestore {
        restore_type: model::RestoreType::EcsFile,
        region_id: "cn-hangzhou".to_owned(),
        snapshot_id: snapshot.snapshot_id.clone(),
        target_client_id: None,
        target_instance_id: None,
        target_path: None,
        target_bucket: None,
        target_file_system_id: None,
        include: None,
        exclude: None,
        options: None,
        target_fields: TargetFields::default(),
    };
    let restore = restores::create(catalog, &fixture.account, &new_restore, None, at(8)).unwrap();
    let (second, task) = vaults::create(
        catalog,
        &fixture.account,
        &new_vault(catalog, "second", 8),
        None,
        at(8),
    )
    .unwrap();

    is_not_found(vaults::get(catalog, &stranger, &vault));
    is_not_found(vaults::get_for_work(catalog, &stranger, &vault));
    is_not_found(vaults::update(
        catalog,
        &stranger,
        &vault,
        &VaultChange::default(),
        at(9),
    ));
    is_not_found(vaults::delete(catalog, &stranger, &vault, None, at(9)));
    is_not_found(clients::get(catalog, &stranger, &client.client_id));
    is_not_found(clients::heartbeat(
        catalog,
        &stranger,
        &client.client_id,
        at(9),
    ));
    assert_eq!(
        clients::find_by_instance(catalog, &stranger, &client.instance_id).unwrap(),
        None
    );
    is_not_found(plans::get(catalog, &stranger, &plan.plan_id));
    is_not_found(plans::create(
        catalog,
        &stranger,
        &plan.spec,
        PlanSwitch::Enabled,
        at(9),
    ));
    is_not_found(plans::update(
        catalog,
        &stranger,
        &plan.plan_id,
        |_| {},
        at(9),
    ));
    is_not_found(plans::switch(
        catalog,
        &stranger,
        &plan.plan_id,
        PlanSwitch::Disabled,
        at(9),
    ));
    is_not_found(plans::delete(
        catalog,
        &stranger,
        &plan.plan_id,
        RunningJobs::Drop,
    ));
    is_not_found(jobs::create(catalog, &stranger, &plan.plan_id, at(9)));
    is_not_found(jobs::get(catalog, &stranger, &ended.job_id));
    is_not_found(jobs::cancel(catalog, &stranger, &running.job_id, at(9)));
    let kind = crate::WorkKind::Backup;
    is_not_found(item_errors::list(
        catalog,
        &stranger,
        kind,
        ended.job_id.as_str(),
        PageRequest::first(10),
    ));
    is_not_found(snapshots::get(catalog, &stranger, &snapshot.snapshot_id));
    is_not_found(snapshots::get_by_hash(catalog, &stranger, &vault, "hash"));
    is_not_found(snapshots::request_delete(
        catalog,
        &stranger,
        &snapshot.snapshot_id,
        None,
        at(9),
    ));
    is_not_found(restores::create(
        catalog,
        &stranger,
        &new_restore,
        None,
        at(9),
    ));
    is_not_found(restores::get(catalog, &stranger, &restore.restore_id));
    is_not_found(restores::cancel(
        catalog,
        &stranger,
        &restore.restore_id,
        at(9),
    ));
    is_not_found(tasks::get(catalog, &stranger, &task));
    let first = PageRequest::first(10);
    assert_eq!(
        vaults::list(catalog, &stranger, &VaultFilter::default(), first)
            .unwrap()
            .total,
        0
    );
    assert_eq!(
        clients::list(catalog, &stranger, &ClientFilter::default(), first)
            .unwrap()
            .total,
        0
    );
    assert_eq!(
        plans::list(catalog, &stranger, &PlanFilter::default(), first)
            .unwrap()
            .total,
        0
    );
    assert_eq!(
        jobs::query(catalog, &stranger, &JobQuery::default())
            .unwrap()
            .total,
        0
    );
    assert_eq!(
        restores::query(catalog, &stranger, &RestoreQuery::default())
            .unwrap()
            .total,
        0
    );
    let leased = crate::work::lease_next(
        catalog,
        &stranger,
        &client.client_id,
        "run",
        at(9),
        super::support::TTL,
        10,
    );
    assert_eq!(leased.unwrap(), []);

    // Nothing of it changed anything.
    assert_eq!(
        vaults::get(catalog, &fixture.account, &second.vault_id)
            .unwrap()
            .vault_name,
        "second"
    );
    assert_eq!(
        jobs::get(catalog, &fixture.account, &running.job_id)
            .unwrap()
            .status,
        model::JobStatus::Created
    );
}

#[test]
fn unknown_ids_are_typed_errors() {
    let fixture = Fixture::new();
    let (catalog, account) = (&fixture.catalog, &fixture.account);
    let missing = |result: Result<(), CatalogError>, entity: Entity| match result {
        Err(CatalogError::NotFound { entity: found, .. }) => assert_eq!(found, entity),
        other => panic!("{other:?}"),
    };
    let plan = PlanId::parse("plan-x").unwrap();
    missing(plans::get(catalog, account, &plan).map(drop), Entity::Plan);
    missing(
        jobs::create(catalog, account, &plan, at(0)).map(drop),
        Entity::Plan,
    );
    missing(
        jobs::get(catalog, account, &JobId::parse("job-x").unwrap()).map(drop),
        Entity::Job,
    );
    missing(
        jobs::cancel(catalog, account, &JobId::parse("job-x").unwrap(), at(0)).map(drop),
        Entity::Job,
    );
    missing(
        restores::get(catalog, account, &RestoreId::parse("r-x").unwrap()).map(drop),
        Entity::RestoreJob,
    );
    missing(
        tasks::get(catalog, account, &TaskId::parse("t-x").unwrap()).map(drop),
        Entity::Task,
    );
    let vault = model::VaultId::parse("v-x").unwrap();
    missing(
        vaults::get(catalog, account, &vault).map(drop),
        Entity::Vault,
    );
    let snapshot = model::SnapshotId::parse("s-x").unwrap();
    missing(
        snapshots::get(catalog, account, &snapshot).map(drop),
        Entity::Snapshot,
    );
}
