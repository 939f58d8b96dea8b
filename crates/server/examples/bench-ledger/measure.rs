//! Clocks and figures. CPU time rather than wall time: the machine has other work, too.

use std::fs;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// CPU time of this thread.
pub(crate) fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        time.tv_nsec.unsigned_abs() as u32,
    )
}

/// CPU time of this process.
pub(crate) fn process_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        time.tv_nsec.unsigned_abs() as u32,
    )
}

/// CPU time of the threads of this process whose name starts with `name`.
pub(crate) fn threads_cpu(name: &str) -> Duration {
    let mut total = Duration::ZERO;
    for task in fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten()
    {
        let comm = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if comm.starts_with(name) {
            let stat = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let nanos = stat.split(' ').next().and_then(|text| text.parse().ok());
            total += Duration::from_nanos(nanos.unwrap_or(0));
        }
    }
    total
}

/// What `body` gives, and the CPU time of this thread that it took.
pub(crate) fn timed<T>(body: impl FnOnce() -> T) -> (T, Duration) {
    let before = thread_cpu();
    let value = body();
    (value, thread_cpu() - before)
}

/// The part `share` of the way through the sorted times, in microseconds.
pub(crate) fn quantile(times: &mut [Duration], share: f64) -> f64 {
    times.sort_unstable();
    let place = ((times.len() as f64 * share) as usize).min(times.len() - 1);
    times[place].as_secs_f64() * 1e6
}

/// The most memory that this process has had.
pub(crate) fn print_peak_memory() {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    println!("\npeak memory: {}", peak.unwrap_or("unknown").trim());
}
