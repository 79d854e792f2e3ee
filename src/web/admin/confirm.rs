//! The password once more, before much is changed at once.

use rocket::http::Status;

use super::answer::Problem;
use super::form::Form;
use super::visit::Visit;
use crate::service::Client;
use crate::service::admin::AdminRefusal;

impl Visit<'_> {
    /// Refuses whoever has not given the password lately, neither with this form.
    pub(super) async fn need_confirmed(&self, sent: &Form) -> Result<(), Problem> {
        if self.session.is_confirmed() {
            return Ok(());
        }
        let refused = |text: String| Problem::new(Status::Forbidden, "reauth", text);
        let Some(password) = sent.password("password")? else {
            return Err(refused("This changes much at once: go back, and give your password with it.".to_owned()));
        };
        let client = Client { address: self.address.clone(), user_agent: None };
        match self.jwt.admin_confirm(&self.secret, &self.session, password, &client).await {
            Ok(()) => Ok(()),
            Err(AdminRefusal::BadCredentials) => {
                Err(refused("That is not your password. Nothing was changed.".to_owned()))
            }
            Err(refusal @ AdminRefusal::Wait(_)) => Err(refused(refusal.to_string())),
            Err(AdminRefusal::Refused(refusal)) => Err(refusal.into()),
        }
    }
}
