//! What the server asks of the program around it.

use std::sync::Arc;

use cotenant_core::{
    Result,
    claim::Item,
    offer::{OfferItem, Place},
    session::SignedOn,
    store::{Actor, Guard, Store},
};

/// What a call says of its origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The name by which the client introduced itself, e.g. `claude-code`.
    pub client: Option<String>,
    /// The agent's id of the call, by which a hook can have left a note of it.
    pub tool_use_id: Option<String>,
    /// The id of the conversation, where the client sends it with each call.
    pub native_id: Option<String>,
}

/// The program around the server. Every method may block.
pub trait Host: Send + Sync + 'static {
    /// The store, opened on first use; never created.
    fn store(&self) -> Result<Arc<dyn Store>>;

    /// The live session in whose name a call runs, if there is one.
    fn find(&self, caller: &Caller) -> Result<Option<Actor>>;

    /// The same, signed on if there is none.
    fn actor(&self, caller: &Caller) -> Result<Actor>;

    /// Signs the calling conversation on under a name; its later calls run as that session.
    fn sign_on(
        &self,
        caller: &Caller,
        name: Option<String>,
        purpose: Option<String>,
    ) -> Result<SignedOn>;

    /// Gives a path its tree and its form relative to the top of that tree.
    fn locate(&self, item: Item) -> Result<Item>;

    /// Where the work is that is handed over with these items, as far as nothing else is said.
    fn work(&self, said: &Place, items: &[OfferItem]) -> Result<Place>;

    /// What must still be held for any change, whatever the call itself demands.
    fn guards(&self) -> Result<Vec<Guard>>;

    /// Draws an id that makes the repetition of one request harmless.
    fn request_id(&self) -> Result<String>;

    /// Whether the agent that started this server still runs.
    fn agent_lives(&self) -> bool;
}
