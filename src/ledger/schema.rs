// @generated automatically by Diesel CLI.

diesel::table! {
    simplejwt_admin_session (digest) {
        digest -> Text,
        session_id -> Text,
        user_id -> Text,
        claim -> Text,
        username -> Text,
        password_digest -> Nullable<Text>,
        seen_at -> Timestamp,
        confirmed_at -> Timestamp,
        ends_at -> Timestamp,
    }
}

diesel::table! {
    simplejwt_census (id) {
        id -> BigInt,
        counted_at -> Timestamp,
        took_millis -> BigInt,
        live -> BigInt,
        superseded -> BigInt,
        blacklisted -> BigInt,
        expired -> BigInt,
    }
}

diesel::table! {
    simplejwt_cutoff (id) {
        id -> BigInt,
        user_id -> Nullable<Text>,
        not_before -> Timestamp,
        keep_until -> Timestamp,
        reason -> Nullable<Text>,
    }
}

diesel::table! {
    simplejwt_event (id) {
        id -> BigInt,
        at -> Timestamp,
        action -> Text,
        target -> Text,
        user_id -> Nullable<Text>,
        session_id -> Nullable<Text>,
        reason -> Nullable<Text>,
        who -> Text,
        via -> Text,
        address -> Nullable<Text>,
        delivery -> SmallInt,
        attempts -> SmallInt,
        due_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    simplejwt_flush_run (id) {
        id -> BigInt,
        started_at -> Timestamp,
        heartbeat_at -> Timestamp,
        finished_at -> Nullable<Timestamp>,
        outcome -> Nullable<Text>,
        as_of -> Timestamp,
        outstanding -> BigInt,
        blacklisted -> BigInt,
        tokens -> BigInt,
        sessions -> BigInt,
        events -> BigInt,
    }
}

diesel::table! {
    simplejwt_hour (hour) {
        hour -> Timestamp,
        issued -> BigInt,
        revoked -> BigInt,
    }
}

diesel::table! {
    simplejwt_revocation (seq) {
        seq -> BigInt,
        token_id -> Nullable<BigInt>,
        jti -> Nullable<Text>,
        session_id -> Nullable<Text>,
        cutoff_id -> Nullable<BigInt>,
        expires_at -> Nullable<Timestamp>,
        removed -> Bool,
        at -> Timestamp,
    }
}

diesel::table! {
    simplejwt_revocation_state (id) {
        id -> BigInt,
        generation -> Text,
        pruned_through -> BigInt,
    }
}

diesel::table! {
    simplejwt_session (id) {
        id -> Text,
        user_id -> Nullable<Text>,
        created_at -> Timestamp,
        last_used_at -> Timestamp,
        address -> Nullable<Text>,
        user_agent -> Nullable<Text>,
        absolute_end -> Nullable<Timestamp>,
        ended_at -> Nullable<Timestamp>,
        ended_reason -> Nullable<Text>,
        ended_by -> Nullable<Text>,
        keep_until -> Timestamp,
    }
}

diesel::table! {
    simplejwt_token (jti) {
        jti -> Text,
        kind -> Nullable<Text>,
        session_id -> Nullable<Text>,
        parent -> Nullable<Text>,
        superseded_at -> Nullable<Timestamp>,
        successor -> Nullable<Text>,
        revoked_at -> Nullable<Timestamp>,
        claims -> Nullable<Text>,
        keep_until -> Timestamp,
    }
}

diesel::table! {
    simplejwt_user (id) {
        id -> BigInt,
        username -> Text,
        email -> Nullable<Text>,
        password -> Text,
        is_active -> Bool,
        is_staff -> Bool,
        last_login -> Nullable<Timestamp>,
        created_at -> Timestamp,
        password_changed_at -> Timestamp,
    }
}

diesel::table! {
    simplejwt_viewer (user_id) {
        user_id -> BigInt,
    }
}

diesel::table! {
    /// simplejwt's table of refused tokens, `token_blacklist_blacklistedtoken`.
    #[sql_name = "token_blacklist_blacklistedtoken"]
    blacklisted_tokens (id) {
        /// The key of the row.
        id -> BigInt,
        /// Since when the token is refused, in UTC.
        blacklisted_at -> Timestamp,
        /// The row of the token in `outstanding_tokens`.
        token_id -> BigInt,
    }
}

diesel::table! {
    /// simplejwt's table of recorded tokens, `token_blacklist_outstandingtoken`.
    #[sql_name = "token_blacklist_outstandingtoken"]
    outstanding_tokens (id) {
        /// The key of the row.
        id -> BigInt,
        /// Empty where we recorded the token; Django keeps its text here.
        token -> Text,
        /// When the token was recorded, in UTC.
        created_at -> Nullable<Timestamp>,
        /// When the token expires, in UTC; of a sliding token, its `refresh_exp`.
        expires_at -> Timestamp,
        /// Whose it is. Text to us, whatever type the column has.
        user_id -> Nullable<Text>,
        /// The token's identity.
        jti -> Text,
    }
}

diesel::joinable!(blacklisted_tokens -> outstanding_tokens (token_id));

diesel::allow_tables_to_appear_in_same_query!(
    simplejwt_admin_session,
    simplejwt_census,
    simplejwt_cutoff,
    simplejwt_event,
    simplejwt_flush_run,
    simplejwt_hour,
    simplejwt_revocation,
    simplejwt_revocation_state,
    simplejwt_session,
    simplejwt_token,
    simplejwt_user,
    simplejwt_viewer,
    blacklisted_tokens,
    outstanding_tokens,
);
