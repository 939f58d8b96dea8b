//! A plan with many jobs is deleted: how long all who write wait, and how long its rows take to go.

use std::time::{Duration, Instant};

use catalog::jobs::{self, ImportedJob};
use catalog::plans::{self, PlanSwitch, RunningJobs};
use catalog::vaults::{self, NewVault};
use catalog::{Catalog, PlanSpec, Sealed};
use model::{AccountId, JobId, JobQuery, JobStatus, PlanId, Timestamp};

use crate::history::{History, START};
use crate::measure::process_cpu;
use crate::stored::{Outcome, Place};

/// Jobs of one transaction.
const BATCH: usize = 5_000;
/// After all jobs of the history, and those of the other figures.
const LATER: i64 = START + 1_000 * 86_400;

/// The jobs of the plan are a tenth of the history, but a million at most.
pub(crate) fn measure_removal(place: &Place, history: History, owner: &AccountId) -> Outcome<()> {
    let catalog = place.open()?;
    jobs::load_index(&catalog)?;
    let ask = || jobs::query(&catalog, owner, &JobQuery::default()).map(|page| page.total);
    let before = ask()?;
    let plan_id = new_plan(&catalog, owner)?;
    let count = (history.rows / 10).min(1_000_000);
    add_jobs(&catalog, history, owner, &plan_id, count)?;
    assert_eq!(ask()?, before + count);

    let (began, cpu) = (Instant::now(), process_cpu());
    plans::delete(&catalog, owner, &plan_id, RunningJobs::Refuse)?;
    let (deleted, deleted_cpu) = (began.elapsed(), process_cpu() - cpu);
    let began = Instant::now();
    assert_eq!(ask()?, before, "gone at once");
    let asked = began.elapsed();

    let (mut longest, mut steps, mut removed) = (Duration::ZERO, 0, 0);
    let (began, cpu) = (Instant::now(), process_cpu());
    loop {
        let step = Instant::now();
        let done = jobs::remove_hidden(&catalog)?;
        longest = longest.max(step.elapsed());
        removed += done.jobs as u64;
        if !done.has_more {
            break;
        }
        steps += 1;
    }
    assert_eq!((removed, ask()?), (count, before));
    println!(
        "\na plan with {count} jobs: deleted in {:.3} s ({:.3} s of CPU), the next question took {:.3} s;\n\
         its rows went in {steps} steps, {:.1} s in all ({:.1} s of CPU), the longest {:.3} s",
        deleted.as_secs_f64(),
        deleted_cpu.as_secs_f64(),
        asked.as_secs_f64(),
        began.elapsed().as_secs_f64(),
        (process_cpu() - cpu).as_secs_f64(),
        longest.as_secs_f64()
    );
    Ok(())
}

fn new_plan(catalog: &Catalog, owner: &AccountId) -> Outcome<PlanId> {
    let now = Timestamp(LATER);
    let vault = NewVault {
        vault_id: vaults::new_id(catalog, now),
        vault_name: "bench".to_owned(),
        description: String::new(),
        vault_region_id: "cn-hangzhou".to_owned(),
        vault_type: "STANDARD".to_owned(),
        vault_storage_class: "STANDARD".to_owned(),
        encrypt_type: "HBR_PRIVATE".to_owned(),
        kms_key_id: None,
        worm_enabled: false,
        storage_url: "/vaults/bench".to_owned(),
        sealed_password: Sealed(Vec::new()),
        kept_by: None,
    };
    let vault_id = vaults::adopt(catalog, owner, &vault, now)?.vault_id;
    let mut spec = PlanSpec::files("cn-hangzhou", "bench", vault_id, vec!["/home".to_owned()]);
    spec.instance_id = Some(model::InstanceId::parse("i-bench")?);
    Ok(plans::create(catalog, owner, &spec, PlanSwitch::Disabled, now)?.plan_id)
}

fn add_jobs(
    catalog: &Catalog,
    history: History,
    owner: &AccountId,
    plan_id: &PlanId,
    count: u64,
) -> Outcome<()> {
    let mut batch = Vec::with_capacity(BATCH);
    for row in 0..count {
        let mut job = history.facts(row).job(history);
        job.account_id = owner.clone();
        job.plan_id = Some(plan_id.clone());
        job.created_time = Timestamp(LATER + row as i64 / 50);
        job.job_id = JobId::new(job.created_time.0.unsigned_abs() * 1_000_000 + row, row);
        if !job.status.is_final() {
            job.status = JobStatus::Failed;
        }
        batch.push(ImportedJob { job, body: None });
        if batch.len() == BATCH || row + 1 == count {
            jobs::import_all(catalog, owner, &batch)?;
            batch.clear();
        }
    }
    Ok(())
}
