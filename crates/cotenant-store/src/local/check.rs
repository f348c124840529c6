//! Step 1: everything that can be said of a request without looking at the store.

use cotenant_core::{
    Error, Result,
    id::check_count,
    lease::Resource,
    name::check_name,
    operation::ActorRule,
    session::check_digest,
    store::{GUARDS_MAX, Request},
};

/// Checks a request and brings its arguments into their one form.
pub(super) fn check(mut request: Request) -> Result<Request> {
    request.op.check()?;
    if request.actor.is_none() && request.op.actor_rule() == ActorRule::Required {
        return Err(Error::invalid(format!("`{}` needs a session", request.op.name()))
            .hint("sign on with `cotenant sign-on NAME`, or name one with `--session`"));
    }
    if let Some(actor) = &request.actor {
        actor.session.check()?;
        check_digest(&actor.token_digest)?;
    }
    if request.guards.len() > GUARDS_MAX {
        return Err(Error::invalid(format!("more than {GUARDS_MAX} guards")));
    }
    if !request.guards.is_empty() && request.actor.is_none() {
        return Err(Error::invalid("a guard needs a session, whose grant it names"));
    }
    for guard in &request.guards {
        Resource::parse(&guard.resource)?;
        check_count("a guard's fence", guard.fence.0)?;
    }
    if let Some(seq) = request.at_least_seq {
        check_count("at_least_seq", seq.0)?;
    }
    if let Some(id) = &request.request_id {
        check_name("request id", id)?;
    }
    Ok(request)
}
