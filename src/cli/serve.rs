//! `serve`: the token service. The only file of this folder that knows Rocket.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use figment::Figment;
use figment::providers::Serialized;
use log::LevelFilter;
use rocket::config::LogLevel;
use rocket::error::ErrorKind;
use rocket::fairing::AdHoc;
use rocket::{Config, Orbit, Rocket};

use super::connect::{self, Common};
use super::demo::Demo;
use super::exit::{Exit, Failure};
use super::output::Output;
use crate::service::{OpenMode, Simplejwt};
use crate::settings::Settings;
use crate::web::{AdminAddress, admin_routes};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  simplejwt serve --demo
  simplejwt serve --port 8080 --admin
  simplejwt --config /etc/simplejwt/Rocket.toml serve --address 0.0.0.0

Makes the database and its tables where there are none, and a key beside the database where none
is configured. Tokens are at /api/token, health is at /health/live and /health/ready. Once it
takes requests it prints one line: listening on http://ADDRESS:PORT/api/token
With --admin (or the setting admin_address) it prints another one before: admin at http://ADDRESS:PORT/admin
Ends on Ctrl-C or SIGTERM, after the requests under way. Put a reverse proxy with TLS before it.")]
pub(super) struct ServeArgs {
    /// Where to listen [default: the settings' address, then 127.0.0.1]
    #[arg(long, value_name = "ADDRESS", conflicts_with = "demo")]
    address: Option<IpAddr>,

    /// The port; 0 for any that is free [default: the settings' port, then 8000]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,

    /// Only verify tokens, which others issue and revoke: the database is only read, and of the token routes there are
    /// /api/token/verify/ and /api/token/whoami/
    #[arg(long, conflicts_with = "demo")]
    verify_only: bool,

    /// The admin in a browser, at an address of its own: of this machine alone, unless another one is said
    #[arg(long, value_name = "ADDRESS:PORT", num_args = 0..=1, default_missing_value = "127.0.0.1:8001", conflicts_with_all = ["demo", "verify_only"])]
    admin: Option<SocketAddr>,

    /// Try it out: on this machine only, with a database that is removed at the end, a user, and commands to paste; the
    /// settings do not count
    #[arg(long)]
    demo: bool,
}

/// Under this name Rocket logs its configuration, routes and fairings when it starts.
pub(super) const GREETING: &str = "rocket::launch";

/// How much to log, where the settings say so.
pub(super) fn log_level(common: &Common) -> Option<LevelFilter> {
    let level: LogLevel = common.figment().ok()?.extract_inner("log_level").ok()?;
    Some(level.into())
}

/// Serves until it is asked to stop.
pub(super) fn run(common: &Common, args: &ServeArgs) -> Result<Exit, Failure> {
    let output = common.output();
    if args.demo {
        let demo = Demo::new()?;
        // Closing the terminal ends it too, so that the directory goes.
        let figment = Figment::new()
            .merge(Serialized::global("address", Ipv4Addr::LOCALHOST))
            .merge(Serialized::global("shutdown.signals", ["term", "hup"]));
        return serve(demo.settings(), figment, args, output.silent(), Some(&demo));
    }
    serve(common.settings()?, common.figment()?, args, output, None)
}

fn serve(
    mut settings: Settings,
    figment: Figment,
    args: &ServeArgs,
    output: Output,
    demo: Option<&Demo>,
) -> Result<Exit, Failure> {
    // Whoever only verifies has a key of those who issue, or none that could be of use.
    if !args.verify_only {
        connect::ensure_key(&mut settings, output)?;
    }
    settings.admin_address = args.admin.or(settings.admin_address);
    let mode = if args.verify_only { OpenMode::VerifyOnly } else { OpenMode::Serve };
    let mut figment = figment;
    if let Some(address) = args.address {
        figment = figment.merge(Serialized::global("address", address));
    }
    if let Some(port) = args.port {
        figment = figment.merge(Serialized::global("port", port));
    }
    rocket::execute(async {
        let jwt = Simplejwt::builder(settings).open(mode).await?;
        let guide = match demo {
            Some(demo) => Some(demo.fill(&jwt).await?),
            None => None,
        };
        let announce = move |rocket: &Rocket<Orbit>| {
            let admin = rocket.state::<AdminAddress>().map(|AdminAddress(address)| *address);
            announce(rocket.config(), admin, guide.as_deref());
        };
        let rocket = crate::web::server(jwt, figment);
        let rocket = if demo.is_some() { rocket.mount("/admin", admin_routes()) } else { rocket };
        let rocket =
            rocket.attach(AdHoc::on_liftoff("announce", move |rocket| Box::pin(async move { announce(rocket) })));
        match rocket.launch().await {
            Ok(_) => Ok(Exit::Done),
            Err(error) => Err(failure(&error)),
        }
    })
}

/// Says on standard output that requests are taken now. Whoever started the server may wait for it.
fn announce(config: &Config, admin: Option<SocketAddr>, guide: Option<&str>) {
    let site = format!("http://{}", SocketAddr::new(config.address, config.port));
    let base = format!("{site}/api/token");
    let mut out = std::io::stdout().lock();
    let mut said = match admin {
        Some(admin) => writeln!(out, "admin at http://{admin}/admin"),
        None => Ok(()),
    };
    said = said.and_then(|()| writeln!(out, "listening on {base}"));
    if let Some(guide) = guide {
        said = said.and_then(|()| writeln!(out, "\n{}", guide.replace("BASE", &base).replace("SITE", &site)));
    }
    if let Err(error) = said.and_then(|()| out.flush()) {
        log::info!("nobody reads standard output: {error}");
    }
}

/// Why Rocket did not start, or did not end well.
fn failure(error: &rocket::Error) -> Failure {
    match error.kind() {
        ErrorKind::Bind(error) => {
            Failure::io("the address cannot be listened on (choose another with --address and --port)", error)
        }
        ErrorKind::Io(error) => Failure::io("the server cannot run", error),
        ErrorKind::Config(error) => Failure::Usage(format!("the settings cannot be read: {error}")),
        ErrorKind::Shutdown(_, Some(error)) => Failure::Failed(format!("the server did not end well: {error}")),
        ErrorKind::Shutdown(_, None) => Failure::Failed("the server ended before every request was answered".into()),
        other => Failure::Failed(format!("the server cannot start: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Args as _;

    use super::*;

    #[test]
    fn the_admin_is_on_this_machine_alone_unless_told_otherwise() {
        let admin = |arguments: &[&str]| {
            let command = ServeArgs::augment_args(clap::Command::new("serve"));
            let matches = command.try_get_matches_from([&["serve"], arguments].concat()).expect("good arguments");
            matches.get_one::<SocketAddr>("admin").copied()
        };
        assert_eq!(admin(&[]), None);
        assert_eq!(admin(&["--admin"]), Some(SocketAddr::from(([127, 0, 0, 1], 8001))));
        assert_eq!(admin(&["--address", "0.0.0.0", "--admin"]), Some(SocketAddr::from(([127, 0, 0, 1], 8001))));
        assert_eq!(admin(&["--admin", "192.0.2.1:9000"]), Some(SocketAddr::from(([192, 0, 2, 1], 9000))));
    }
}
