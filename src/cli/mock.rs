//! `tollgate mock`: the fake upstream alone, for trying a config without an account (docs/MOCK.md).

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::base::units::{Span, Written};
use crate::mock::{Mock, MockConfig};

use super::out::{Exit, note};

/// A fake upstream that speaks OpenAI and Anthropic; the model name chooses answers and faults
#[derive(Debug, clap::Args)]
pub struct MockArgs {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:4010")]
    listen: SocketAddr,
    /// Append one JSON line per answer begun and ended to this file
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Pause between stream events, e.g. 20ms
    #[arg(long, default_value = "0ms", value_parser = Span::read)]
    pace: Span,
    /// Output tokens per answer [default: 12 to 24, by the question]
    #[arg(long)]
    tokens: Option<u64>,
    /// Changes ids and words of the answers
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The only credential to accept [default: any]
    #[arg(long)]
    key: Option<String>,
}

/// Serves until the process is interrupted.
#[must_use]
pub fn run(args: &MockArgs) -> Exit {
    let config = MockConfig {
        listen: args.listen,
        served_log: args.log.clone(),
        sync_log: false,
        seed: args.seed,
        pace: args.pace.0,
        tokens: args.tokens,
        key: args.key.clone(),
    };
    let mut mock = match Mock::start(config) {
        Ok(mock) => mock,
        Err(fault) => {
            note(&format!("failed to start the mock on {}: {fault}", args.listen));
            return Exit::Failed;
        }
    };
    note(&format!("mock upstream on http://{}/v1 (Ctrl-C stops it)", mock.addr));
    let waited = wait_for_signal();
    mock.stop();
    match waited {
        Ok(()) => Exit::Ok,
        Err(fault) => {
            note(&format!("failed to wait for a signal: {fault}"));
            Exit::Failed
        }
    }
}

fn wait_for_signal() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminate.recv() => Ok(()),
        }
    })
}
