//! `keys …`: signing keys.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::Value;

use super::connect::{Common, no_randomness, write_new};
use super::exit::{Exit, Failure};
use super::input;
use super::output;
use crate::settings::Settings;
use crate::token::{Algorithm, generate_key};

#[derive(Subcommand)]
pub(super) enum KeysCommand {
    /// Make a key to sign tokens with
    #[command(after_help = "Examples:
  simplejwt keys generate --out /etc/simplejwt/token.key
  simplejwt keys generate --algorithm ES256 --out es256.pem

Then set signing_key_file (and algorithm) in [default.simplejwt] of Rocket.toml. The file can be
read by its owner only, and no file is ever overwritten. Without --out the key is printed.")]
    Generate {
        /// What it is to sign with
        #[arg(long, default_value = "HS256", value_parser = input::algorithm_parser())]
        algorithm: Algorithm,
        /// Where to write it
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// List the keys that the settings name, never the keys themselves
    #[command(after_help = "Examples:
  simplejwt keys list --config /etc/simplejwt/Rocket.toml

Every key is loaded, so that one that a server would refuse is refused here too.
Exit code: 0 the keys are good, 2 one is not, or there is none.")]
    List,
}

/// Runs `keys …`.
pub(super) fn run(common: &Common, command: KeysCommand) -> Result<Exit, Failure> {
    match command {
        KeysCommand::Generate { algorithm, out } => generate(common, algorithm, out.as_deref()),
        KeysCommand::List => list(common),
    }
}

fn generate(common: &Common, algorithm: Algorithm, out: Option<&Path>) -> Result<Exit, Failure> {
    let output = common.output();
    let key = generate_key(algorithm).ok_or_else(no_randomness)?;
    let Some(file) = out else {
        output::line(key.trim_end())?;
        return Ok(Exit::Done);
    };
    write_new(file, key.as_bytes()).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::Failed(format!("{} exists, and a key is never overwritten; name another file", file.display()))
        }
        _ => Failure::io(format_args!("{} cannot be written", file.display()), &error),
    })?;
    if output.is_for_people() {
        output.done(format_args!(
            "a key for {algorithm} is in {}; name it in the setting signing_key_file",
            file.display()
        ))?;
    } else {
        let file = file.display().to_string();
        output.record(&[("algorithm", algorithm.as_str().into()), ("file", file.into())])?;
    }
    Ok(Exit::Done)
}

const FIELDS: [&str; 5] = ["kid", "algorithm", "use", "setting", "source"];

fn list(common: &Common) -> Result<Exit, Failure> {
    let settings = common.settings()?;
    settings.keys()?;
    common.output().rows(&FIELDS, &rows(&settings))?;
    Ok(Exit::Done)
}

/// Every key that the settings name: its name, its algorithm, what it is for and where it comes from.
fn rows(settings: &Settings) -> Vec<Vec<Value>> {
    let mut rows = Vec::new();
    let (kid, algorithm) = (settings.signing_key_id.as_deref(), settings.algorithm);
    let mut add = |kid: Option<&str>, algorithm: Algorithm, purpose: &str, setting: String, file: Option<&Path>| {
        let file = file.map(|file| file.display().to_string());
        rows.push(vec![kid.into(), algorithm.as_str().into(), purpose.into(), setting.into(), file.into()]);
    };
    if settings.signing_key.is_some() {
        add(kid, algorithm, "signs and verifies", "signing_key".into(), None);
    }
    if let Some(file) = &settings.signing_key_file {
        add(kid, algorithm, "signs and verifies", "signing_key_file".into(), Some(file));
    }
    if !algorithm.is_symmetric() && settings.jwk_url.is_none() {
        if settings.verifying_key.is_some() {
            add(kid, algorithm, "verifies", "verifying_key".into(), None);
        }
        if let Some(file) = &settings.verifying_key_file {
            add(kid, algorithm, "verifies", "verifying_key_file".into(), Some(file));
        }
    }
    for (index, key) in settings.verifying_keys.iter().enumerate() {
        let setting = format!("verifying_keys[{index}]");
        add(key.kid.as_deref(), key.algorithm, "verifies", setting, key.key_file.as_deref());
    }
    if let Some(url) = &settings.jwk_url {
        add(None, algorithm, "verifies", "jwk_url".into(), Some(Path::new(url)));
    }
    rows
}
