//! The wish to end a command that runs until told.

use std::io;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::select;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::exit::Failure;

/// How long a command may take to notice; one that is held up by who reads its output does not.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the command was told to end.
#[derive(Clone)]
pub(super) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// A wish, and who makes it.
    pub(super) fn new() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// Waits until it was told.
    pub(super) async fn wished(&mut self) {
        if self.0.wait_for(|told| *told).await.is_err() {
            // Nobody is left to tell it.
            std::future::pending::<()>().await;
        }
    }
}

/// Told at SIGINT (Ctrl-C) or SIGTERM. A command that does not end then is ended.
pub(super) fn watch() -> Result<Stop, Failure> {
    let watched = begin();
    watched.map_err(|error| Failure::failed(format!("signals cannot be listened for: {error}")))
}

fn begin() -> io::Result<Stop> {
    // A thread of its own, since the command's may stand still where nobody reads its output.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let guard = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    drop(guard);
    let (sender, stop) = Stop::new();
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                select(pin!(interrupt.recv()), pin!(terminate.recv())).await;
                sender.send_replace(true);
                tokio::time::sleep(PATIENCE).await;
            });
            std::process::exit(0);
        })?;
    Ok(stop)
}
