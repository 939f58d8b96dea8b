//! CopyCatalog: the sealed copy of the catalog, for the agent that backs it up.
//!
//! Only the agent that was started with this server gets it, for a work that it holds: the copy is of all accounts. It is
//! sealed here, under a key that this agent does not have.

use std::collections::BTreeMap;

use api::agent_protocol::{AgentRequest, CopyCatalogRequest};
use api::error::{ApiError, Code};
use api::secret::SecretText;
use axum::body::Body;
use catalog::{WorkKind, WorkState, copy, work};

use super::{check_agent, client_for_tasks, parse, signed};
use crate::data_dir::{CA_FILES, MASTER_KEY, read_file};
use crate::error::ServerError;
use crate::failure;
use crate::http::Border;
use crate::sealed_copy::{CopyHeader, CopySealer};
use crate::service::Service;
use crate::stream::BodySender;
use crate::wire::Wire;

pub(super) async fn copy_catalog(border: &Border, wire: Wire) -> Result<Body, ApiError> {
    let request_id = wire.request_id.clone();
    border
        .blocking(&request_id, move |service| check(service, &wire))
        .await?;
    border
        .streaming(&request_id, |service, body| match send(service, body) {
            Ok(true) => body.end(),
            Ok(false) => tracing::info!("the copy of the catalog was not read to its end"),
            Err(error) => tracing::error!(%error, "the catalog cannot be copied"),
        })
        .await
}

fn check(service: &Service, wire: &Wire) -> Result<(), ApiError> {
    let agent = check_agent(service, wire, CopyCatalogRequest::METHOD)?;
    let request: CopyCatalogRequest = parse(wire)?;
    let item = work::get(&service.catalog, &request.work_id).map_err(failure::of_catalog)?;
    let holds = item.is_some_and(|item| {
        item.kind == WorkKind::BackupCatalog
            && item.state == WorkState::Leased
            && item.epoch == signed(request.epoch)
            && item.holder_client_id.as_ref() == Some(&agent.client)
    });
    let is_local = client_for_tasks(service, &service.operator) == Some(agent.client);
    if holds && is_local && agent.account == service.operator {
        return Ok(());
    }
    Err(ApiError::new(
        Code::NoPermission,
        "The catalog is copied for the agent of this very service alone, while it backs the catalog up.",
    ))
}

/// Whether all of it was sent.
fn send(service: &Service, body: &BodySender) -> Result<bool, ServerError> {
    let mut sealer = CopySealer::new(&service.master_key.recovery_secret());
    let begin = sealer.begin(&header(service)?);
    if !body.send(begin) {
        return Ok(false);
    }
    let counts = copy::dump(&service.catalog, &mut |segment| {
        !*service.stopping.borrow() && body.send(sealer.rows(&segment))
    })?;
    Ok(counts.is_some_and(|counts| body.send(sealer.end(counts))))
}

fn header(service: &Service) -> Result<CopyHeader, ServerError> {
    let master_key = service.master_key.to_text();
    let mut files = BTreeMap::from([(MASTER_KEY.to_owned(), master_key.as_str().into())]);
    for name in CA_FILES {
        let found = read_file(&service.data_dir.join(name))?;
        if let Some(text) = found.and_then(|bytes| String::from_utf8(bytes).ok()) {
            files.insert(name.to_owned(), SecretText::new(text));
        }
    }
    Ok(CopyHeader {
        schema: copy::schema_version(),
        created_time: service.now().0,
        account_id: service.operator.to_string(),
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        files,
    })
}
