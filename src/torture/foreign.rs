//! A gateway that somebody else set up: what can be known of it from outside, and by the user's commands.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::door::{Caller, Door};
use super::rates::{RATES, Rates};
use super::{Foreign, TortureFault};
use crate::base::clock::Clock;
use crate::base::money::NanoUsd;

/// The user's gateway.
#[derive(Debug)]
pub(super) struct Theirs {
    pub(super) asked: Foreign,
    pub(super) door: Door,
    pub(super) callers: Vec<Caller>,
    child: Option<Child>,
}

impl Theirs {
    pub(super) fn new(asked: Foreign) -> Result<Self, TortureFault> {
        let door = Door::read(&asked.url)?;
        let caller = Caller { team: String::new(), key: String::new(), secret: asked.key.clone() };
        Ok(Self { asked, door, callers: vec![caller], child: None })
    }

    /// Starts it by the user's command, if there is one, and waits until somebody listens.
    pub(super) fn start(&mut self) -> Result<Duration, TortureFault> {
        let clock = Clock::system();
        let begun = clock.tick();
        if let Some(command) = &self.asked.start {
            let child = Command::new("sh")
                // exec, so that the process that is killed is the gateway and not its shell
                .args(["-c", &format!("exec {command}")])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            self.child = Some(child.map_err(TortureFault::io("start the gateway"))?);
        }
        while std::net::TcpStream::connect_timeout(&self.door.address, PAUSE * 10).is_err() {
            if clock.tick().since(begun) > START_PATIENCE {
                return Err(TortureFault::Start { why: format!("nobody listens on {}", self.door.address) });
            }
            std::thread::park_timeout(PAUSE);
        }
        Ok(clock.tick().since(begun))
    }

    /// `kill -9`, if we started it. Yields whether it was still alive.
    pub(super) fn kill(&mut self) -> bool {
        let Some(mut child) = self.child.take() else { return false };
        let was_alive = child.try_wait().is_ok_and(|ended| ended.is_none());
        // a process that is gone already was just counted as that
        let _ = child.kill();
        let _ = child.wait();
        was_alive
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.asked.pid.or_else(|| self.child.as_ref().map(Child::id))
    }

    /// What was spent so far, as the user's command says: USD as a number, or JSON with `cost_nano_usd`
    /// (`tollgate usage --json`), or with `usd`, `cost` or `spend` somewhere on top.
    pub(super) fn spent(&self) -> Result<Option<i64>, TortureFault> {
        let Some(command) = &self.asked.spend else { return Ok(None) };
        let fault = |why: String| TortureFault::Command { command: command.clone(), why };
        let output = Command::new("sh").args(["-c", command]).output();
        let output = output.map_err(|error| fault(format!("cannot be run: {error}")))?;
        if !output.status.success() {
            return Err(fault(format!("ended with {}", output.status)));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        read_spent(text.trim()).map(Some).ok_or_else(|| fault(format!("prints no amount: {text}")))
    }

    /// What the user has to configure, in words.
    pub(super) fn instructions(&self) -> String {
        let mut text = format!(
            "Point the gateway's upstream (its OpenAI base URL) at http://{}/v1, with any API key.\n\
             It must answer without a cache and without retries of its own.\n",
            self.asked.oracle
        );
        match &self.asked.model {
            Some(model) => text.push_str(&format!("All requests name the model {model}.\n")),
            None => {
                text.push_str("It must let these models through, at these prices (USD per million tokens):\n")
            }
        }
        // the last is for budgets, which only a gateway of the kit's own has
        for rates in RATES[..3].iter().filter(|_| self.asked.model.is_none()) {
            text.push_str(&format!(
                "  {:15} input {}  cached input {}  cache write {}  output {}\n",
                rates.model,
                Rates::per_million(rates.input),
                Rates::per_million(rates.cached),
                Rates::per_million(rates.cache_write),
                Rates::per_million(rates.output),
            ));
        }
        text
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        self.kill();
    }
}

fn read_spent(text: &str) -> Option<i64> {
    if let Ok(amount) = NanoUsd::parse_usd(text) {
        return Some(amount.as_nanos());
    }
    let said: Value = serde_json::from_str(text).ok()?;
    for place in ["/cost_nano_usd", "/total/cost_nano_usd"] {
        if let Some(nanos) = said.pointer(place).and_then(Value::as_i64) {
            return Some(nanos);
        }
    }
    let names = ["/usd", "/cost", "/spend", "/total_cost", "/info/spend"];
    let amount = names.iter().find_map(|place| said.pointer(place))?;
    let amount = amount.as_str().map_or_else(|| amount.to_string(), str::to_owned);
    // more digits than nano-USD have are somebody's float
    let shortened = match amount.split_once('.') {
        Some((whole, part)) if part.len() > 9 && !part.contains(['e', 'E']) => {
            format!("{whole}.{}", &part[..9])
        }
        _ => amount,
    };
    NanoUsd::parse_usd(&shortened).ok().map(NanoUsd::as_nanos)
}

const PAUSE: Duration = Duration::from_millis(20);
const START_PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spending_is_read_from_a_number_and_from_json() {
        for (text, nanos) in [
            ("1.25", 1_250_000_000),
            (r#"{"rows":[],"total":{"cost_nano_usd":77}}"#, 77),
            (r#"{"spend":0.000123}"#, 123_000),
            (r#"{"info":{"spend":0.12345678901234}}"#, 123_456_789),
        ] {
            assert_eq!(read_spent(text), Some(nanos), "{text}");
        }
        assert_eq!(read_spent("nothing"), None);
    }
}
