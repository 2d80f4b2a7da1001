//! The wish to end a command that runs until told.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::select;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// How long a command may take to notice; one that is held up by who reads its output does not.
const PATIENCE: Duration = Duration::from_secs(2);

/// Becomes true at SIGINT (Ctrl-C) or SIGTERM. A command that does not end then is ended.
pub(super) fn watch() -> io::Result<Arc<AtomicBool>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let guard = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    drop(guard);
    let stop = Arc::new(AtomicBool::new(false));
    let stopping = Arc::clone(&stop);
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                select(pin!(interrupt.recv()), pin!(terminate.recv())).await;
                stopping.store(true, Ordering::SeqCst);
                tokio::time::sleep(PATIENCE).await;
            });
            std::process::exit(0);
        })?;
    Ok(stop)
}
