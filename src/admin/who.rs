//! Who asks for a change, and why: kept with it.

use super::AdminError;

/// The token does not tell people apart: a name is what a client says of itself.
pub(super) struct Who {
    pub actor: String,
    pub reason: String,
}

/// Characters of a name.
const ACTOR_MAX: usize = 100;
/// Characters of a reason.
const REASON_MAX: usize = 1000;

impl Who {
    pub fn read(actor: Option<&str>, reason: &str) -> Result<Self, AdminError> {
        let reason = text("reason", reason, REASON_MAX)?;
        let actor = match actor {
            Some(name) => format!("admin-api: {}", text("actor", name, ACTOR_MAX)?),
            None => "admin-api".to_owned(),
        };
        Ok(Self { actor, reason })
    }
}

fn text(name: &str, text: &str, length_max: usize) -> Result<String, AdminError> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > length_max || text.chars().any(char::is_control) {
        return Err(AdminError::Malformed(format!(
            "{name} must have 1 to {length_max} characters, none of them a control character"
        )));
    }
    Ok(text.to_owned())
}
