//! A server at an address of its own, for what should not be where everybody comes.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use figment::Figment;
use rocket::fairing::AdHoc;
use rocket::tokio::sync::oneshot;
use rocket::{Build, Rocket, Shutdown};

use super::catchers;

/// Launches what `build` makes of a Rocket at this address, with everything else as `figment` says; returns how to end it, and where it
/// listens.
pub(super) async fn serve(
    what: &'static str,
    address: SocketAddr,
    figment: &Figment,
    build: impl FnOnce(Rocket<Build>) -> Rocket<Build>,
) -> Result<(Shutdown, SocketAddr), rocket::Error> {
    let figment = figment
        .clone()
        .merge(("address", address.ip()))
        .merge(("port", address.port()))
        // Whoever asks the process to end asks the other server, and that one ends this.
        .merge(("shutdown.ctrlc", false))
        .merge(("shutdown.signals", [(); 0]));
    let (announce, announced) = oneshot::channel();
    let announce = Mutex::new(Some(announce));
    let liftoff = AdHoc::on_liftoff("announce", move |rocket| {
        Box::pin(async move {
            let address = SocketAddr::new(rocket.config().address, rocket.config().port);
            log::info!("{what} at http://{address}/{what}");
            let announce = announce.lock().unwrap_or_else(PoisonError::into_inner).take();
            // Nobody waits any more where the launch was given up.
            drop(announce.map(|announce| announce.send((rocket.shutdown(), address))));
        })
    });
    let rocket = build(rocket::custom(figment)).attach(liftoff);
    let launched = tokio::spawn(catchers::register(rocket).launch());
    match announced.await {
        Ok(launched) => Ok(launched),
        // It ended without a liftoff.
        Err(_) => match launched.await {
            Ok(Err(error)) => Err(error),
            Ok(Ok(rocket)) => Ok((rocket.shutdown(), address)),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        },
    }
}
