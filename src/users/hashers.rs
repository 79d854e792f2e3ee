//! The passwords that Django stores: `algorithm$parameters$salt$hash`, one way to write them for each of its hashers.
//!
//! What is stored may be anybody's text. Parameters are bounded before any work is done, so that one row cannot take the
//! memory or the cores of the process.

use std::fmt;
use std::num::NonZeroU32;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::pbkdf2;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::token::sha256_hex;

/// The iterations of PBKDF2, Django's default hasher, in Django 5.2.
const ITERATIONS: u32 = 1_000_000;

/// The most iterations of PBKDF2: some seconds.
const MOST_ITERATIONS: u32 = 10_000_000;

/// The most memory, in KiB: 1 GiB.
const MOST_MEMORY: u64 = 1 << 20;

/// The most that Argon2 goes through in all its passes, in KiB: 8 GiB, some seconds.
const MOST_PASSES: u64 = 8 << 20;

/// The most that scrypt goes through in all its lanes, in KiB: 2 GiB, which takes it as long.
const MOST_LANES: u64 = 2 << 20;

/// The dearest cost of bcrypt, which doubles with each step: 16 times Django's.
const MOST_ROUNDS: u32 = 16;

/// No more of a password than this counts for bcrypt.
const BCRYPT_LENGTH: usize = 72;

/// bcrypt's own base 64. The last character of a salt holds bits that do not count.
const BCRYPT_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::BCRYPT,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// Why a stored password could not be compared with anything. No password is right for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unverifiable {
    /// Django's mark for a user who has no password: `!` and noise.
    Unusable,
    /// A hasher that is not known here, by its name, if it can be told from a secret.
    Unknown(Option<String>),
    /// Not what this hasher writes.
    Malformed(&'static str),
    /// More work or memory than one login may take.
    TooDear(&'static str),
}

/// Never shows what is stored.
impl fmt::Display for Unverifiable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable => f.write_str("it is marked as unusable"),
            Self::Unknown(Some(algorithm)) => write!(f, "the hasher {algorithm} is not supported"),
            Self::Unknown(None) => f.write_str("it is not in the form of any of Django's hashers"),
            Self::Malformed(algorithm) => write!(f, "it is no well-formed hash of {algorithm}"),
            Self::TooDear(algorithm) => write!(f, "its parameters for {algorithm} take too much time or memory"),
        }
    }
}

/// Whether this is the password behind `stored`, which Django wrote.
pub(super) fn verify(password: &str, stored: &str) -> Result<bool, Unverifiable> {
    if stored.starts_with('!') {
        return Err(Unverifiable::Unusable);
    }
    let parts: Vec<_> = stored.split('$').collect();
    let password = password.as_bytes();
    match parts[..] {
        ["pbkdf2_sha256", iterations, salt, hash] => {
            pbkdf2("pbkdf2_sha256", pbkdf2::PBKDF2_HMAC_SHA256, 32, password, [iterations, salt, hash])
        }
        ["pbkdf2_sha1", iterations, salt, hash] => {
            pbkdf2("pbkdf2_sha1", pbkdf2::PBKDF2_HMAC_SHA1, 20, password, [iterations, salt, hash])
        }
        // The first version of Argon2 did not say which it is.
        ["argon2", variety, parameters, salt, hash] => argon2(password, variety, "v=16", [parameters, salt, hash]),
        ["argon2", variety, version, parameters, salt, hash] => {
            argon2(password, variety, version, [parameters, salt, hash])
        }
        ["bcrypt_sha256", "", version, cost, rest] => {
            // In hexadecimal, so that no byte of it is 0.
            bcrypt("bcrypt_sha256", sha256_hex(password).to_ascii_lowercase().as_bytes(), version, cost, rest)
        }
        ["bcrypt", "", version, cost, rest] => bcrypt("bcrypt", password, version, cost, rest),
        ["scrypt", work, salt, block, lanes, hash] => scrypt(password, work, block, lanes, salt, hash),
        [name, ..] => Err(known(name).map_or_else(|| unknown(&parts), Unverifiable::Malformed)),
        [] => Err(Unverifiable::Unknown(None)),
    }
}

/// Takes as long as a check by Django's default hasher would still take. `stored` is what the password was compared with.
pub(super) fn take_time(password: &str, stored: Option<&str>) {
    if let Some(rest) = iterations_left(stored) {
        let mut nothing = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rest, b"nobody", password.as_bytes(), &mut nothing);
        // Or the compiler might leave it out.
        std::hint::black_box(nothing);
    }
}

/// What is left of the work of Django's default hasher: all of it where nothing was compared; after an old hash of that hasher,
/// the iterations that it lacks; after another hasher none.
fn iterations_left(stored: Option<&str>) -> Option<NonZeroU32> {
    let done = stored.map_or(Some(0), |stored| {
        let (iterations, _) = stored.strip_prefix("pbkdf2_sha256$")?.split_once('$')?;
        number(iterations)
    })?;
    ITERATIONS.checked_sub(done).and_then(NonZeroU32::new)
}

/// The hasher of this name, if it is one of ours.
fn known(name: &str) -> Option<&'static str> {
    ["pbkdf2_sha256", "pbkdf2_sha1", "argon2", "bcrypt_sha256", "bcrypt", "scrypt"].into_iter().find(|own| *own == name)
}

/// What is said of a hasher that is none of ours. A name is what stands before a `$` and looks like one: what has no such
/// form may be a password in the clear.
fn unknown(parts: &[&str]) -> Unverifiable {
    let is_name = |name: &str| {
        let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        (1..=32).contains(&name.len()) && name.bytes().all(word)
    };
    let name = parts.first().filter(|name| parts.len() >= 3 && is_name(name));
    Unverifiable::Unknown(name.map(|name| (*name).to_owned()))
}

/// Digits and nothing else.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn pbkdf2(
    name: &'static str,
    algorithm: pbkdf2::Algorithm,
    length: usize,
    password: &[u8],
    [iterations, salt, hash]: [&str; 3],
) -> Result<bool, Unverifiable> {
    let malformed = || Unverifiable::Malformed(name);
    let iterations = number(iterations).and_then(NonZeroU32::new).ok_or_else(malformed)?;
    let hash = STANDARD.decode(hash).ok().filter(|hash| hash.len() == length).ok_or_else(malformed)?;
    if salt.is_empty() {
        return Err(malformed());
    }
    if iterations.get() > MOST_ITERATIONS {
        return Err(Unverifiable::TooDear(name));
    }
    Ok(pbkdf2::verify(algorithm, iterations, salt.as_bytes(), password, &hash).is_ok())
}

fn argon2(
    password: &[u8],
    variety: &str,
    version: &str,
    [parameters, salt, hash]: [&str; 3],
) -> Result<bool, Unverifiable> {
    const NAME: &str = "argon2";
    let malformed = || Unverifiable::Malformed(NAME);
    let algorithm = match variety {
        "argon2id" => Algorithm::Argon2id,
        "argon2i" => Algorithm::Argon2i,
        "argon2d" => Algorithm::Argon2d,
        _ => return Err(malformed()),
    };
    let version = match version {
        "v=19" => Version::V0x13,
        "v=16" => Version::V0x10,
        _ => return Err(malformed()),
    };
    let mut values = parameters.split(',');
    let mut value = |key: &str| values.next()?.strip_prefix(key)?.strip_prefix('=').and_then(number);
    let (memory, passes, lanes) = match (value("m"), value("t"), value("p")) {
        (Some(memory), Some(passes), Some(lanes)) if values.next().is_none() => (memory, passes, lanes),
        _ => return Err(malformed()),
    };
    let bytes = |text: &str| STANDARD_NO_PAD.decode(text).map_err(|_| malformed());
    let (salt, hash) = (bytes(salt)?, bytes(hash)?);
    if u64::from(memory) > MOST_MEMORY || u64::from(memory) * u64::from(passes) > MOST_PASSES || hash.len() > 512 {
        return Err(Unverifiable::TooDear(NAME));
    }
    let params = Params::new(memory, passes, lanes, Some(hash.len())).map_err(|_| malformed())?;
    let mut found = vec![0; hash.len()];
    Argon2::new(algorithm, version, params).hash_password_into(password, &salt, &mut found).map_err(|_| malformed())?;
    Ok(verify_slices_are_equal(&found, &hash).is_ok())
}

fn bcrypt(name: &'static str, password: &[u8], version: &str, cost: &str, rest: &str) -> Result<bool, Unverifiable> {
    let malformed = || Unverifiable::Malformed(name);
    // `2x` stands for a broken implementation of old.
    if !["2a", "2b", "2y"].contains(&version) || cost.len() != 2 || rest.len() != 53 {
        return Err(malformed());
    }
    let cost = number(cost).filter(|cost| (4..=31).contains(cost)).ok_or_else(malformed)?;
    let (salt, hash) = rest.split_at_checked(22).ok_or_else(malformed)?;
    let bytes = |text: &str| BCRYPT_BASE64.decode(text).map_err(|_| malformed());
    let (salt, hash) = (bytes(salt)?.try_into().map_err(|_| malformed())?, bytes(hash)?);
    if cost > MOST_ROUNDS {
        return Err(Unverifiable::TooDear(name));
    }
    // bcrypt takes "x", a zero byte and "x" for "x".
    if password.contains(&0) {
        return Ok(false);
    }
    let mut key = password[..password.len().min(BCRYPT_LENGTH - 1)].to_vec();
    match password.get(BCRYPT_LENGTH - 1) {
        Some(last) => key.push(*last),
        None => key.push(0),
    }
    let found = ::bcrypt::bcrypt(cost, salt, &key);
    // The last byte is not stored.
    Ok(verify_slices_are_equal(&found[..23], &hash).is_ok())
}

fn scrypt(password: &[u8], work: &str, block: &str, lanes: &str, salt: &str, hash: &str) -> Result<bool, Unverifiable> {
    const NAME: &str = "scrypt";
    let malformed = || Unverifiable::Malformed(NAME);
    let parameter = |text: &str| number(text).filter(|value| *value > 0).ok_or_else(malformed);
    let (work, block, lanes) = (parameter(work)?, parameter(block)?, parameter(lanes)?);
    let hash = STANDARD.decode(hash).ok().filter(|hash| hash.len() == 64).ok_or_else(malformed)?;
    if salt.is_empty() || !work.is_power_of_two() || work < 2 {
        return Err(malformed());
    }
    // In KiB: scrypt works on blocks of 128 bytes.
    let memory = |factor: u32| u64::from(factor).saturating_mul(u64::from(block)).div_ceil(8);
    let all = memory(work).saturating_mul(u64::from(lanes));
    if memory(work) > MOST_MEMORY || memory(lanes) > MOST_MEMORY || all > MOST_LANES {
        return Err(Unverifiable::TooDear(NAME));
    }
    let log_work = u8::try_from(work.ilog2()).map_err(|_| malformed())?;
    let params = ::scrypt::Params::new(log_work, block, lanes).map_err(|_| malformed())?;
    let mut found = [0; 64];
    ::scrypt::scrypt(password, salt.as_bytes(), &params, &mut found).map_err(|_| malformed())?;
    Ok(verify_slices_are_equal(&found, &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASCII: &str = "correct horse battery staple";
    const UNICODE: &str = "pässwörd Ω 🐎";
    /// 87 bytes: more than bcrypt reads.
    const LONG: &str = "ééééééééééééééééééééééééééééééééééééééééthe end";

    /// Written by Django 5.2.19, with argon2-cffi 25.1.0 and bcrypt 5.0.0.
    const VECTORS: [(&str, &str); 27] = [
        (ASCII, "pbkdf2_sha256$1000$saltySalt42$mEsJdS3n/q4yagqsHyEdBRfdS3mjFhe573HVV29pGYY="),
        (ASCII, "pbkdf2_sha1$1000$saltySalt42$4s6IKC2PD+wd2dtOKwotwufW3EM="),
        (ASCII, "argon2$argon2id$v=19$m=512,t=2,p=8$c2FsdHlTYWx0NDI$zEJHXmbf7pS6iU3S0cRYAfnadAM85IOFccnK82cShao"),
        (ASCII, "argon2$argon2i$v=16$m=512,t=2,p=2$c2FsdHlTYWx0NDI$oXVPrlQIGi0V+mjsn/OExUSsIrsfoGOgM1zllYyXwFU"),
        (ASCII, "argon2$argon2i$m=512,t=2,p=2$c2FsdHlTYWx0NDI$oXVPrlQIGi0V+mjsn/OExUSsIrsfoGOgM1zllYyXwFU"),
        (ASCII, "argon2$argon2i$v=19$m=512,t=2,p=2$c2FsdHlTYWx0NDI$Cm7cjp7hUpaeWD9COvZ/6qHd3t5HtwD+EABL19Rm1ww"),
        (ASCII, "argon2$argon2d$v=16$m=512,t=2,p=2$c2FsdHlTYWx0NDI$+byAlsw90DMTobP+Srp0YK9k5PyWquzV90BLIogK/Z4"),
        (ASCII, "argon2$argon2d$v=19$m=512,t=2,p=2$c2FsdHlTYWx0NDI$Uea9tkggsQESq3fUItuc/IyZieE+eLmzSjw02ELPkcw"),
        (ASCII, "bcrypt_sha256$$2b$04$jI6udJA3XTe3QujLfIJrceN8Unxusvd16bmlZMu7rMpd/1PtP/.Ra"),
        (ASCII, "bcrypt$$2b$04$5kOCuQBoU0cKPLLoRn7drOrWweL/isD/0ncOa7CZBVQhMaNvzH4h2"),
        (
            ASCII,
            "scrypt$1024$saltySalt42$8$5$VXunMdseEVXP2rM2ehl3xqQxxDOKRnEvTVGQp8KfoyD+ExvrCdaL6jWkP9XhnYJolzPxZ/dMizCCbwp3htmfhQ==",
        ),
        (UNICODE, "pbkdf2_sha256$1000$saltySalt42$YD1IacxlMzjW8abfcVUp7hZdWWNNbYfP+7zf0h3aCZo="),
        (UNICODE, "pbkdf2_sha1$1000$saltySalt42$41YFMqFGeHF5BLtS7VKBYHU6QQQ="),
        (UNICODE, "argon2$argon2id$v=19$m=512,t=2,p=8$c2FsdHlTYWx0NDI$Ww5ppgs5o8LfK3auwEH4wVeHLsJS5TEeAcTy5cS1N30"),
        (UNICODE, "bcrypt_sha256$$2b$04$AISRirXscf/z.1s3mCnVMOhC5OHWSLYYalmGENRxxf62kNlFG2My6"),
        (UNICODE, "bcrypt$$2b$04$X2fW51LL79oBQJ0D2tgd3uXu6zkbGW.nNQlFPpCRxPiROHFQjseYS"),
        (
            UNICODE,
            "scrypt$1024$saltySalt42$8$5$k+EQymcy2EYlUR++Rb1StAnctXiiX/eEbvCZN88QVsx9GdlmnBRpBcR7ivES4pEMrZPwy3WbvdH98/vVQRmMcA==",
        ),
        (LONG, "pbkdf2_sha256$1000$saltySalt42$zUa4KHuOFwPNouKDapLrc+xlVDVVU+aQhBwHiV+rsa4="),
        (LONG, "pbkdf2_sha1$1000$saltySalt42$p0YR1DuMKi/uAey/0Q51asYQwUc="),
        (LONG, "argon2$argon2id$v=19$m=512,t=2,p=8$c2FsdHlTYWx0NDI$tXXdPYA4g+2iHWbTGn4NQ9Ani8UudrDNLfnrTV9vSAQ"),
        (LONG, "bcrypt_sha256$$2b$04$y/xdn7/8S0jSweE2kwe44ev16N/PpWVThJw5qZyJOhfTeB43Rs4qa"),
        (
            LONG,
            "scrypt$1024$saltySalt42$8$5$4u60XUBqGJq2fxqcWGnxTgCn/+ms0NH7IX1xAvUiZjGOk6Kxd/1MIbeYLvbN9TlVNPvGE1pa+Cjbf5X7t4WHiA==",
        ),
        // With Django's own parameters.
        (ASCII, "pbkdf2_sha256$1000000$k63g9hkLRwjKDf6kJ8eA76$48LNVsYCt3r3vSWDqKvPuq5GKz97++e4zHFQiDQUkJQ="),
        (
            ASCII,
            "argon2$argon2id$v=19$m=102400,t=2,p=8$bmttMDN6Vk9NM0kxQWFrRnNrWFpIdA$HmD8AyN37e/bsFKAfGVASGJOKpTjuwhm1aU8IxZHXAk",
        ),
        (ASCII, "bcrypt_sha256$$2b$12$wGFqozd18jjS9BOC.RGesejLACfamgiJp9kcpdOHYUfAvL2e.ioRC"),
        (ASCII, "bcrypt$$2b$12$VnyK8allU6rIrZbH6yKQSOKdZSLQF0cPeFGBL21exy.SiIIJkmTkK"),
        (
            ASCII,
            "scrypt$16384$a0Fj9W46nXLHlUnNfVgzD6$8$5$scK836QFYMrrwFF7hCJPZP5jpdj7ig77Cn0AX2begtAK9jYl3rMIb/nnrfOTMnyqdnZDOyAReRez2G2bKVaGQw==",
        ),
    ];

    #[test]
    fn what_django_wrote_is_the_hash_of_its_password_and_of_no_other() {
        for (password, stored) in VECTORS {
            assert_eq!(verify(password, stored), Ok(true), "{stored}");
        }
        // The cheap ones.
        for (password, stored) in &VECTORS[..22] {
            for wrong in ["", "correct horse battery stapl", &format!("{password} "), &LONG[..LONG.len() - 1]] {
                assert_eq!(verify(wrong, stored), Ok(false), "{wrong}: {stored}");
            }
        }
    }

    #[test]
    fn bcrypt_alone_reads_72_bytes_and_no_zero_byte() {
        let stored = "bcrypt$$2b$04$21z/iiM3dRDHA7Vj./mMnuTh5e3kuZZ1dPhYlNuJ7pczS5bUdpczS";
        let right = "x".repeat(72);
        assert_eq!(verify(&right, stored), Ok(true));
        assert_eq!(verify(&format!("{right}y"), stored), Ok(true), "as Django did before bcrypt 5");
        assert_eq!(verify(&right[..71], stored), Ok(false));
        let ascii = VECTORS[9].1;
        assert_eq!(
            verify(&format!("{ASCII}\0{ASCII}"), ascii),
            Ok(false),
            "which bcrypt cannot tell from the password"
        );
        for version in ["2a", "2y"] {
            assert_eq!(verify(ASCII, &ascii.replace("2b", version)), Ok(true), "another name for the same");
        }
    }

    #[test]
    fn what_cannot_be_compared_is_nobodys_password() {
        use Unverifiable::{Malformed, TooDear, Unknown, Unusable};
        let pbkdf2 = "mEsJdS3n/q4yagqsHyEdBRfdS3mjFhe573HVV29pGYY=";
        let argon2 = "c2FsdHlTYWx0NDI$zEJHXmbf7pS6iU3S0cRYAfnadAM85IOFccnK82cShao";
        let bcrypt = "jI6udJA3XTe3QujLfIJrceN8Unxusvd16bmlZMu7rMpd/1PtP/.Ra";
        let scrypt = "VXunMdseEVXP2rM2ehl3xqQxxDOKRnEvTVGQp8KfoyD+ExvrCdaL6jWkP9XhnYJolzPxZ/dMizCCbwp3htmfhQ==";
        let unknown = |name: &str| Unknown(Some(name.into()));
        for (stored, fault) in [
            ("!Vl0XFbAJdmpJNEoANHn3fFWu63vwlymg5R5OMMUl".to_owned(), Unusable),
            (String::new(), Unknown(None)),
            ("hunter2".into(), Unknown(None)),
            ("hunter2$".into(), Unknown(None)),
            ("Hunter2$$$".into(), Unknown(None)),
            ("md5$zjX4jOU4vY8RwCv3Gdwy2p$8dfef1c9edcc21c5d9ebf9fbc2b58d38".into(), unknown("md5")),
            (format!("pbkdf2_sha512$1000$saltySalt42${pbkdf2}"), unknown("pbkdf2_sha512")),
            ("pbkdf2_sha256".into(), Malformed("pbkdf2_sha256")),
            (format!("pbkdf2_sha256$0$saltySalt42${pbkdf2}"), Malformed("pbkdf2_sha256")),
            (format!("pbkdf2_sha256$-1$saltySalt42${pbkdf2}"), Malformed("pbkdf2_sha256")),
            (format!("pbkdf2_sha256$+1000$saltySalt42${pbkdf2}"), Malformed("pbkdf2_sha256")),
            (format!("pbkdf2_sha256$99999999999$saltySalt42${pbkdf2}"), Malformed("pbkdf2_sha256")),
            (format!("pbkdf2_sha256$1000$$${pbkdf2}"), Malformed("pbkdf2_sha256")),
            (format!("pbkdf2_sha256$1000$${pbkdf2}"), Malformed("pbkdf2_sha256")),
            ("pbkdf2_sha256$1000$saltySalt42$".into(), Malformed("pbkdf2_sha256")),
            ("pbkdf2_sha256$1000$saltySalt42$mEsJ".into(), Malformed("pbkdf2_sha256")),
            (format!("pbkdf2_sha1$1000$saltySalt42${pbkdf2}"), Malformed("pbkdf2_sha1")),
            (format!("pbkdf2_sha256$10000001$saltySalt42${pbkdf2}"), TooDear("pbkdf2_sha256")),
            (format!("argon2$argon2x$v=19$m=512,t=2,p=8${argon2}"), Malformed("argon2")),
            (format!("argon2$argon2id$v=20$m=512,t=2,p=8${argon2}"), Malformed("argon2")),
            (format!("argon2$argon2id$v=19$m=512,t=2${argon2}"), Malformed("argon2")),
            (format!("argon2$argon2id$v=19$m=512,t=2,p=8,x=1${argon2}"), Malformed("argon2")),
            (format!("argon2$argon2id$v=19$m=512,t=0,p=8${argon2}"), Malformed("argon2")),
            (format!("argon2$argon2id$v=19$m=8,t=2,p=8${argon2}"), Malformed("argon2")),
            ("argon2$argon2id$v=19$m=512,t=2,p=8$c2Fs$".into(), Malformed("argon2")),
            (format!("argon2$argon2id$v=19$m=1048577,t=1,p=8${argon2}"), TooDear("argon2")),
            (format!("argon2$argon2id$v=19$m=4294967295,t=4294967295,p=8${argon2}"), TooDear("argon2")),
            (format!("argon2$argon2id$v=19$m=512,t=4294967295,p=8${argon2}"), TooDear("argon2")),
            (format!("bcrypt_sha256$2b$04${bcrypt}"), Malformed("bcrypt_sha256")),
            (format!("bcrypt_sha256$$2x$04${bcrypt}"), Malformed("bcrypt_sha256")),
            (format!("bcrypt_sha256$$2b$4${bcrypt}"), Malformed("bcrypt_sha256")),
            (format!("bcrypt_sha256$$2b$03${bcrypt}"), Malformed("bcrypt_sha256")),
            (format!("bcrypt_sha256$$2b$32${bcrypt}"), Malformed("bcrypt_sha256")),
            (format!("bcrypt_sha256$$2b$04${}", &bcrypt[1..]), Malformed("bcrypt_sha256")),
            (format!("bcrypt_sha256$$2b$04${}", bcrypt.replace("Qu", "é")), Malformed("bcrypt_sha256")),
            (format!("bcrypt$$2b$04${}é{}", &bcrypt[..21], &bcrypt[23..]), Malformed("bcrypt")),
            (format!("bcrypt$$2b$17${bcrypt}"), TooDear("bcrypt")),
            (format!("scrypt$1000$saltySalt42$8$5${scrypt}"), Malformed("scrypt")),
            (format!("scrypt$1$saltySalt42$8$5${scrypt}"), Malformed("scrypt")),
            (format!("scrypt$1024$saltySalt42$0$5${scrypt}"), Malformed("scrypt")),
            (format!("scrypt$1024$$8$5${scrypt}"), Malformed("scrypt")),
            (format!("scrypt$1024$saltySalt42$8$5${pbkdf2}"), Malformed("scrypt")),
            (format!("scrypt$2097152$saltySalt42$8$1${scrypt}"), TooDear("scrypt")),
            (format!("scrypt$2147483648$saltySalt42$4294967295$4294967295${scrypt}"), TooDear("scrypt")),
            (format!("scrypt$2$saltySalt42$1$4294967295${scrypt}"), TooDear("scrypt")),
        ] {
            assert_eq!(verify(ASCII, &stored), Err(fault), "{stored}");
        }
    }

    #[test]
    fn what_is_said_of_it_names_the_hasher_and_shows_nothing_stored() {
        let said = |stored: &str| verify(ASCII, stored).expect_err("no hash of ours").to_string();
        assert!(said("md5$salt$topsecret").contains("md5"));
        for stored in ["md5$topsecret$topsecret", "topsecret", "topsecret$topsecret", "bcrypt$topsecret", "!topsecret"]
        {
            assert!(!said(stored).contains("topsecret"), "{stored}");
        }
    }

    #[test]
    fn time_is_taken_for_what_was_not_done() {
        let left = |stored| iterations_left(stored).map(NonZeroU32::get);
        assert_eq!(left(None), Some(1_000_000), "as many as Django 5.2 does for a user whom it has");
        assert_eq!(left(Some("pbkdf2_sha256$900000$salt$hash")), Some(100_000));
        for done in ["pbkdf2_sha256$1000000$salt$hash", "pbkdf2_sha256$2000000$salt$hash", "bcrypt$$2b$04$rest"] {
            assert_eq!(left(Some(done)), None, "{done}");
        }
    }
}
