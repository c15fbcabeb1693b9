//! What routes need, as one variable of the environment says it: no name of a variable could be a route's.

use super::keys::{ACCESS, route};
use super::layer::Entry;
use anyhow::{Result, bail, ensure};
use config::ValueKind;
use refold_domain::nearest;
use std::collections::BTreeSet;

/// How it is written.
const EXAMPLE: &str = "\"GET /stats=open, POST /users=admin\"";

/// The entries that an entry of the environment stands for: one for each route in the variable of all routes, or itself.
pub(super) fn spread(entry: Entry) -> Result<Vec<Entry>> {
    let Entry { key, value, source } = &entry;
    if route(key).is_some() {
        bail!("{source} is not read: write all routes into $REFOLD__ACCESS, such as {EXAMPLE}");
    }
    let (true, ValueKind::String(text)) = (key == ACCESS, &value.kind) else {
        return Ok(vec![entry]);
    };
    let mut routes = BTreeSet::new();
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let made = parts.map(|part| {
        let Some((route, need)) = part.split_once('=') else {
            bail!("{source}: {} is not allowed: it must be such as {EXAMPLE}", nearest::quoted(part));
        };
        let (route, need) = (route.trim(), need.trim());
        ensure!(routes.insert(route), "{source}: {} is given twice", nearest::quoted(route));
        Ok(Entry { key: format!("{ACCESS}.{route}"), value: need.into(), source: source.clone() })
    });
    made.collect()
}
