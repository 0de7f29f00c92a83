//! Floor 4, the data door: THE REQUEST. `walk` reads like the line in docs/ARCHITECTURE.md.
//!
//! ```text
//! begin -> identify -> decode -> admit -> recall -> forward -> relay -> settle
//! ```

mod admit;
mod begin;
mod body;
mod decode;
pub mod error;
pub mod error_table;
mod exchange;
mod fill;
mod forward;
mod framing;
mod headers;
mod identify;
mod intake;
mod need;
pub mod policy;
pub mod prices;
mod rates;
mod recall;
mod relay;
mod report;
mod request;
mod settle;
mod stall;

use http::{Request, Response};
use hyper::body::Incoming;

pub use body::Outgoing;
pub use policy::{Account, Bounds, Door, Policy, Station};
pub use stall::give_up_stalled;

use error::Refusal;
use exchange::Exchange;
use relay::Answer;

use crate::base::failpoint::Failpoint;

/// Serves one request: never fails, always leaves exactly one record.
pub async fn handle(station: &Station, request: Request<Incoming>) -> Response<Outgoing> {
    let (mut exchange, asked) = begin::begin(station, request);
    match walk(&mut exchange, asked, station).await {
        Ok(answer) => relay::relay(exchange, answer),
        Err(refusal) => relay::refuse(exchange, &refusal),
    }
}

async fn walk(x: &mut Exchange, mut asked: begin::Asked, station: &Station) -> Result<Answer, Refusal> {
    x.enter()?;
    let checked = framing::check(&asked.parts);
    if let Err(refusal) = checked.and_then(|()| identify::identify(x, asked.headers())) {
        intake::drain(&mut asked).await;
        return Err(refusal);
    }
    Failpoint::AfterAuth.reach();
    let request = decode::decode(x, asked).await?;
    admit::admit(x, &request)?;
    Failpoint::AfterReserve.reach();
    match recall::recall(x, &request).await? {
        Some(answer) => Ok(answer),
        None => forward::forward(x, request, &station.client).await,
    }
}
