//! `api ACTION`: a signed call of any action, its JSON on standard output.

use super::Context;
use crate::args::ApiArgs;
use crate::exit::{Exit, Failure};
use crate::session::Parameters;

/// Calls and prints.
pub(crate) fn run(context: &Context, args: ApiArgs) -> Result<Exit, Failure> {
    let reply = context
        .session()?
        .call(&args.action, Parameters::from_pairs(args.parameters))?;
    let text = serde_json::to_string_pretty(&reply)
        .map_err(|error| Failure::new(format!("cannot print the answer: {error}"), ""))?;
    context.screen.line(&text);
    Ok(Exit::Done)
}
