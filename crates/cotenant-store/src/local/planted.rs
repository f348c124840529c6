//! Planted bugs that do outside the transaction what belongs into it. They run in tests only.

use cotenant_core::{
    Op, Result,
    data::{Change, Entry, Get, Put, Update},
    json::Json,
    store::{Outcome, Request},
};

use super::{Asked, LocalStore};
use crate::{
    execute::authenticate,
    lease,
    meta::{Intent, Meta},
    testing::failpoint,
};

impl LocalStore {
    /// The planted bug: an addition is a read, then a write.
    pub(super) fn update_outside(&self, request: &Request, op: &Update) -> Outcome {
        let (scope, key) = (op.scope.clone(), op.key.clone());
        let get = Get { scope: scope.clone(), key: key.clone() };
        let old = self.read(&Request { op: Op::Get(get), ..request.clone() });
        let old = old.ok().and_then(|reply| serde_json::from_str::<Entry>(reply.data.get()).ok());
        let old = old.and_then(|entry| entry.value.text().parse::<i64>().ok()).unwrap_or(0);
        let Change::Add(number) = op.change else { return self.write_one(request) };
        let value = Json::of(&(old + number));
        let put = Put { scope, key, value, expect: None, ephemeral: false, ttl_ms: None };
        self.write_one(&Request { op: Op::Put(put), ..request.clone() })
    }

    /// The planted bug: guards checked before the transaction instead of inside it.
    pub(super) fn check_guards_outside(&self, requests: &[Asked<'_>]) -> Result<()> {
        for Asked { request, .. } in requests {
            self.with_engine(|engine| {
                engine.read(&mut |sql| {
                    let mut meta = Meta::load(sql, Intent::Read)?;
                    let reading = self.clock.reading(sql)?;
                    meta.tick = meta.tick_at(&reading, self.clock.step_max());
                    let mut tx = self.tx(sql, meta, false);
                    authenticate(&mut tx, request)?;
                    request.guards.iter().try_for_each(|guard| lease::check_guard(&mut tx, guard))
                })
            })?;
            failpoint("mutant.guards_checked")?;
        }
        Ok(())
    }
}
