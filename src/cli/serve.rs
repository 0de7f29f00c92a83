//! `tollgate serve`: runs the gateway until it is told to stop.

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::out::{Exit, note};
use super::place::{ConfigArg, load};
use crate::app;
use crate::config::watch;

/// Run the gateway.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "SIGHUP or a change of the file reloads the config. SIGTERM and Ctrl-C stop in order; \
                        a second one stops at once."
)]
pub struct ServeArgs {
    #[command(flatten)]
    place: ConfigArg,
}

/// Serves until a stop signal.
#[must_use]
pub fn run(args: &ServeArgs) -> Exit {
    #[cfg(feature = "failpoints")]
    if let Some(point) = crate::config::environment("TOLLGATE_FAILPOINT")
        && !crate::base::failpoint::arm(&point)
    {
        note(&format!("TOLLGATE_FAILPOINT: there is no point {point}"));
        return Exit::Failed;
    }
    let path = &args.place.config;
    let mark = watch::Mark::of(path);
    let loaded = match load(path) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    for warning in &loaded.warnings {
        note(&format!("{}:{warning}", path.display()));
    }
    if loaded.settings.open {
        note("warning: `open: true`: everyone on this machine may spend; for local development only");
    }
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(fault) => {
            note(&format!("tollgate cannot wait for signals: {fault}"));
            return Exit::Failed;
        }
    };
    let running = match app::start(&loaded.settings, path.clone(), &loaded.fingerprint) {
        Ok(running) => running,
        Err(fault) => {
            note(&format!("tollgate cannot start: {fault}"));
            return Exit::Failed;
        }
    };
    // of a config with many keys, dozens of megabytes that nothing refers to any more
    drop(loaded);
    let reloader = running.reloader();
    // a watcher that cannot start leaves SIGHUP, which always works
    let watched = watch::watch(path, mark, move || reloader.reload());
    if let Err(fault) = &watched {
        note(&format!("the config file is not watched ({fault}); send SIGHUP to reload"));
    }
    note(&format!(
        "tollgate {} listens on {}, admin on {}",
        env!("CARGO_PKG_VERSION"),
        running.data,
        running.admin
    ));
    signals.wait(|| running.reload());
    note("stopping: no new requests, the ones at work may finish; again to stop at once");
    std::thread::spawn(second_signal_ends);
    drop(watched);
    running.stop();
    Exit::Ok
}

/// The signals that are heeded, from before anyone is told that the gateway runs.
struct Signals {
    runtime: Runtime,
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let heeded = runtime.enter();
        let hangup = signal(SignalKind::hangup())?;
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        drop(heeded);
        Ok(Self { runtime, hangup, terminate, interrupt })
    }

    /// Waits for a stop signal; calls `on_hangup` at each SIGHUP meanwhile.
    fn wait(&mut self, on_hangup: impl Fn()) {
        let Self { runtime, hangup, terminate, interrupt } = self;
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = hangup.recv() => on_hangup(),
                    _ = terminate.recv() => break,
                    _ = interrupt.recv() => break,
                }
            }
        });
    }
}

/// What was written to the journal is safe; the next start settles it.
fn second_signal_ends() {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    let received: std::io::Result<()> = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    });
    if received.is_ok() {
        std::process::exit(130);
    }
}
