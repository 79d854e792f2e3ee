//! Sessions: how they are renewed, and what limits them.

use super::{SettingsError, refuse};
use crate::settings::{Settings, Span};

impl Settings {
    /// Rotation, its grace, and the limits of sessions.
    pub(super) fn check_sessions(&self) -> Result<(), SettingsError> {
        if self.rotation_grace > Span::from_secs(300) {
            return refuse(
                "rotation_grace",
                "is over 300 s: for so long a stolen token would not be told from a lost answer; \
                 for devices that sleep there is `grace_until_used`",
            );
        }
        let rotates = self.rotate_refresh_tokens && self.blacklist_after_rotation && self.has_blacklist();
        if self.grace_until_used && !rotates {
            return refuse(
                "grace_until_used",
                "needs `rotate_refresh_tokens`, `blacklist_after_rotation` and a blacklist: else no token is ever used up",
            );
        }
        if !rotates && self.rotation_grace != Self::default().rotation_grace {
            return refuse(
                "rotation_grace",
                "needs `rotate_refresh_tokens`, `blacklist_after_rotation` and a blacklist: else no reuse is noticed",
            );
        }
        if !(0.0..=0.25).contains(&self.access_lifetime_jitter) {
            return refuse("access_lifetime_jitter", "must lie between 0 and 0.25");
        }
        let limits = [
            ("session_idle_lifetime", self.session_idle_lifetime),
            ("session_lifetime", self.session_lifetime),
            ("max_sessions_per_user", self.max_sessions_per_user.map(|most| Span::from_secs(most.into()))),
        ];
        for (name, limit) in limits {
            if limit == Some(Span::default()) {
                return refuse(name, "must be more than 0; leave it out to have no limit");
            }
            if limit.is_some() && !self.has_blacklist() {
                return refuse(name, "needs a blacklist, but that is off: there are no sessions");
            }
        }
        if self.session_idle_lifetime.is_some_and(|idle| idle < self.access_token_lifetime) {
            return refuse(
                "session_idle_lifetime",
                "is shorter than `access_token_lifetime`: a session would be over before its client has to refresh",
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::BlacklistKind;
    use crate::settings::check::tests::refused;

    type Limit = (&'static str, fn(&mut Settings, u32));

    #[test]
    fn grace_and_limits_need_what_they_rest_on() {
        let s = Span::from_secs;
        assert_eq!(refused(|set| set.rotation_grace = s(300)), None);
        assert_eq!(refused(|set| set.rotation_grace = s(301)), Some("rotation_grace"));
        let unrotated: [fn(&mut Settings); 3] = [
            |set| set.rotate_refresh_tokens = false,
            |set| set.blacklist_after_rotation = false,
            |set| (set.blacklist, set.blacklist_after_rotation) = (BlacklistKind::Off, false),
        ];
        for unrotated in unrotated {
            let with = |change: fn(&mut Settings)| {
                refused(|set| {
                    unrotated(set);
                    change(set);
                })
            };
            assert_eq!(with(|_| ()), None);
            assert_eq!(with(|set| set.rotation_grace = Span::from_secs(0)), Some("rotation_grace"));
            assert_eq!(with(|set| set.grace_until_used = true), Some("grace_until_used"));
        }
        let limits: [Limit; 3] = [
            ("session_lifetime", |set, limit| set.session_lifetime = Some(Span::from_secs(limit.into()))),
            ("session_idle_lifetime", |set, limit| set.session_idle_lifetime = Some(Span::from_secs(limit.into()))),
            ("max_sessions_per_user", |set, limit| set.max_sessions_per_user = Some(limit)),
        ];
        for (name, limit) in limits {
            assert_eq!(refused(|set| limit(set, 1000)), None);
            assert_eq!(refused(|set| limit(set, 0)), Some(name));
            let off = |set: &mut Settings| {
                (set.blacklist, set.blacklist_after_rotation) = (BlacklistKind::Off, false);
                limit(set, 1000);
            };
            assert_eq!(refused(off), Some(name));
        }
        assert_eq!(refused(|set| set.session_idle_lifetime = Some(s(299))), Some("session_idle_lifetime"));
        for (jitter, expected) in [(0.25, None), (0.26, Some(())), (-0.1, Some(())), (f64::NAN, Some(()))] {
            let expected = expected.map(|()| "access_lifetime_jitter");
            assert_eq!(refused(|set| set.access_lifetime_jitter = jitter), expected, "{jitter}");
        }
    }
}
