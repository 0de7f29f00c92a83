//! Floor 4, the data door: THE REQUEST. `walk` reads like the line in docs/ARCHITECTURE.md.
//!
//! ```text
//! begin -> identify -> decode -> admit -> recall -> forward -> relay -> settle
//! ```

mod admit;
mod allowance;
mod begin;
mod bill;
mod body;
mod budgets;
mod decode;
mod drain;
pub mod error;
pub mod error_table;
mod estimate;
mod exchange;
mod fill;
mod follow;
mod forward;
mod framing;
mod headers;
mod hidden;
mod hold;
mod identify;
mod intake;
mod late;
mod lines;
mod lost;
mod names;
mod need;
mod part;
mod passing;
pub mod policy;
pub mod prices;
mod rates;
mod recall;
mod relay;
mod report;
mod request;
mod settle;
mod socket;
mod spool;
mod stall;
mod tally;
mod upload;

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;

pub use body::Outgoing;
pub use drain::{Drains, Serving};
pub use late::{bill_overdue, resume};
pub use lines::Lines;
pub use policy::{Account, Bounds, ByName, Deferrals, Door, Policy, Station};
pub use socket::Sockets;
pub use spool::Spools;
pub use stall::give_up_stalled;

use drain::Leaving;
use error::Refusal;
use exchange::Exchange;
use relay::Answer;

use crate::base::failpoint::Failpoint;

/// Serves one request: never fails, always leaves exactly one record. Dropped before it is done, it goes on
/// where an upstream was asked whose answer is to be read without a client.
pub fn handle(station: Arc<Station>, request: Request<Incoming>) -> Serving {
    let (door, leaving) = (Arc::clone(&station.door), Arc::new(Leaving::default()));
    Serving::of(door, Arc::clone(&leaving), async move { serve(&station, request, leaving).await })
}

async fn serve(station: &Station, request: Request<Incoming>, leaving: Arc<Leaving>) -> Response<Outgoing> {
    let (mut exchange, asked) = begin::begin(station, request, leaving);
    match walk(&mut exchange, asked, station).await {
        Ok(answer) => relay::relay(exchange, answer),
        Err(refusal) => relay::refuse(exchange, &refusal),
    }
}

async fn walk(x: &mut Exchange, mut asked: begin::Asked, station: &Station) -> Result<Answer, Refusal> {
    x.enter()?;
    let checked = framing::check(&asked.parts);
    if let Err(refusal) = checked.and_then(|()| identify::identify(x, asked.headers())) {
        Box::pin(intake::drain(&mut asked)).await;
        return Err(refusal);
    }
    Failpoint::AfterAuth.reach();
    let mut request = decode::decode(x, asked).await?;
    admit::admit(x, &mut request).await?;
    Failpoint::AfterReserve.reach();
    match recall::recall(x, &request).await? {
        Some(answer) => Ok(answer),
        None => forward::forward(x, &mut request, &station.client).await,
    }
}
