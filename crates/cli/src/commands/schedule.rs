//! `schedule`: when a schedule would run. Asks no service.

use model::{Schedule, Timestamp};

use super::Context;
use super::plan::now;
use crate::args::ScheduleArgs;
use crate::exit::{Exit, Failure, chain};

/// Prints the next runs, one a line.
pub(crate) fn run(context: &Context, args: &ScheduleArgs) -> Result<Exit, Failure> {
    let schedule = Schedule::parse(&args.schedule).map_err(|error| {
        Failure::usage(
            chain(&error),
            "write it as I|1767225600|P1D or C|0|0 0 2 ? * *",
        )
    })?;
    let mut after = Timestamp(args.from.unwrap_or_else(now));
    for _ in 0..args.count {
        let Some(run) = schedule.next_run(after, &args.timezone) else {
            break;
        };
        let line = if args.seconds {
            run.to_string()
        } else {
            shown(run, &args.timezone)
        };
        context.screen.line(&line);
        after = run;
    }
    Ok(Exit::Done)
}

/// `2027-01-01 02:00:00 +01:00 Europe/Berlin`.
fn shown(run: Timestamp, zone: &model::Zone) -> String {
    let Some(wall) = zone.wall_clock(run) else {
        return run.to_string();
    };
    let offset = wall
        .duration_since(jiff::civil::DateTime::constant(1970, 1, 1, 0, 0, 0, 0))
        .as_secs()
        - run.0;
    let sign = if offset < 0 { '-' } else { '+' };
    format!(
        "{} {sign}{:02}:{:02} {zone}",
        wall.strftime("%Y-%m-%d %H:%M:%S"),
        offset.abs() / 3600,
        offset.abs() / 60 % 60
    )
}
