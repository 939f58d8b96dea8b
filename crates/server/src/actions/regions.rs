//! OpenHbrService, DescribeRegions.

use api::error::{ApiError, Code};
use api::shapes::{OrderReply, Region, Regions, RegionsReply};
use catalog::accounts;

use super::{Answer, Call};
use crate::failure;

/// Opens the service for the account; a second call is an error, as in the cloud, which Terraform expects.
pub(crate) fn open_hbr_service(call: &Call<'_>) -> Answer {
    let number: u64 = rand::random_range(100_000_000_000_000..1_000_000_000_000_000);
    let order = accounts::open_service(&call.service.catalog, &call.account, &number.to_string())
        .map_err(failure::of_catalog)?;
    if !order.is_new {
        return Err(ApiError::of(Code::OrderOpened));
    }
    call.bare_reply(&OrderReply {
        request_id: Some(call.request_id.to_owned()),
        order_id: Some(order.order_id),
    })
}

/// A server is one region.
pub(crate) fn describe_regions(call: &Call<'_>) -> Answer {
    let region = Region {
        region_id: Some(call.service.region.clone()),
        local_name: Some(call.service.region.clone()),
    };
    call.reply(RegionsReply {
        regions: Some(Regions {
            region: Some(vec![region]),
        }),
    })
}
