//! The keys that the settings name.

use std::path::Path;

use super::{KeySetting, Secret, Settings, SettingsError};
use crate::token::{KeyRing, SigningKey, VerifyingKey};

impl Settings {
    /// Whether any key is configured.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        let public = self.verifying_key.is_some() || self.verifying_key_file.is_some() || self.jwk_url.is_some();
        let private = self.signing_key.is_some() || self.signing_key_file.is_some();
        public || private || !self.verifying_keys.is_empty()
    }

    /// Loads every configured key.
    ///
    /// # Errors
    /// [`SettingsError`], where a key is refused, a file cannot be read, or nothing could verify a token.
    pub fn keys(&self) -> Result<KeyRing, SettingsError> {
        let signing = self.signing_key()?;
        let mut verifying = Vec::new();
        if self.jwk_url.is_none() {
            verifying.extend(self.verifying_key(signing.as_ref())?);
        }
        for key in &self.verifying_keys {
            verifying.push(key.load()?);
        }
        if !self.has_keys() {
            return Err(SettingsError::Refused {
                name: "signing_key",
                why: "no key is configured; write one with `simplejwt keys generate --out FILE` and set `signing_key_file`".into(),
            });
        }
        KeyRing::new(signing, verifying).map_err(|source| SettingsError::Key { name: "verifying_keys", source })
    }

    fn signing_key(&self) -> Result<Option<SigningKey>, SettingsError> {
        let found =
            read("signing_key", self.signing_key.as_ref(), "signing_key_file", self.signing_key_file.as_deref())?;
        found
            .map(|(name, text)| {
                SigningKey::from_text(self.algorithm, self.signing_key_id.clone(), &text)
                    .map_err(|source| SettingsError::Key { name, source })
            })
            .transpose()
    }

    /// The public key of a process that only verifies. Beside a signing key it must be that key's own half, which the ring
    /// has already, so it is only checked there.
    fn verifying_key(&self, signing: Option<&SigningKey>) -> Result<Option<VerifyingKey>, SettingsError> {
        if self.algorithm.is_symmetric() {
            return Ok(None);
        }
        let found = read(
            "verifying_key",
            self.verifying_key.as_ref(),
            "verifying_key_file",
            self.verifying_key_file.as_deref(),
        )?;
        let Some((name, text)) = found else { return Ok(None) };
        let key = VerifyingKey::from_text(self.algorithm, self.signing_key_id.clone(), &text)
            .map_err(|source| SettingsError::Key { name, source })?;
        match signing {
            None => Ok(Some(key)),
            Some(signing) if signing.verifying_key().is_same_key(&key) => Ok(None),
            Some(_) => Err(SettingsError::Refused {
                name,
                why: "is not the public half of `signing_key`; keys of before go into `verifying_keys`".into(),
            }),
        }
    }
}

impl KeySetting {
    fn load(&self) -> Result<VerifyingKey, SettingsError> {
        let name = "verifying_keys";
        let Some((_, text)) = read(name, self.key.as_ref(), name, self.key_file.as_deref())? else {
            return Err(SettingsError::Refused { name, why: "each entry needs `key` or `key_file`".into() });
        };
        VerifyingKey::from_text(self.algorithm, self.kid.clone(), &text)
            .map_err(|source| SettingsError::Key { name, source })
    }
}

/// A key from its setting or its file, with the name of whichever it was.
fn read(
    name: &'static str,
    text: Option<&Secret>,
    file_name: &'static str,
    file: Option<&Path>,
) -> Result<Option<(&'static str, Vec<u8>)>, SettingsError> {
    match (text, file) {
        (Some(_), Some(_)) => {
            let why = "is given both as text and as a file; keep one of the two".into();
            Err(SettingsError::Refused { name, why })
        }
        (Some(text), None) => Ok(Some((name, text.reveal().into()))),
        (None, Some(file)) => Ok(Some((file_name, read_file(file_name, file)?))),
        (None, None) => Ok(None),
    }
}

/// The content of a key file without the line end that editors leave.
fn read_file(name: &'static str, path: &Path) -> Result<Vec<u8>, SettingsError> {
    let mut text = std::fs::read(path).map_err(|source| SettingsError::KeyFile { name, path: path.into(), source })?;
    warn_if_readable_by_others(path);
    while text.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        text.pop();
    }
    Ok(text)
}

#[cfg(unix)]
fn warn_if_readable_by_others(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let open = std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0);
    if open && path.extension().is_none_or(|ending| ending != "pub") {
        log::warn!("the key file {} can be read by other users of this machine; run: chmod 600 {0}", path.display());
    }
}

#[cfg(not(unix))]
fn warn_if_readable_by_others(_: &Path) {}
