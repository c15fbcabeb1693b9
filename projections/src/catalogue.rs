//! Which definitions are in force, and which generation of each is folded.
//!
//! The store keeps the catalogue beside what was folded with it. Where the definitions at start mean something
//! else, the store is emptied and everything is folded from the start of the log: a changed projection then has
//! another generation, so that nothing of the old one can be taken for it.

use crate::definition::Definition;
use crate::state::{Head, Live};
use crate::store::{Space, Store};
use crate::view::{self, View};
use anyhow::{Context, ensure};
use refold_domain::schema::{EventType, Value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A projection in force: a definition, its view, and the generation that is folded and served.
#[derive(Debug)]
pub struct Projection {
    /// What is wanted.
    pub definition: Definition,
    /// The build of it, from 1.
    pub generation: u32,
    /// How it is folded and answered.
    pub view: Box<dyn View>,
    name: Arc<str>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Catalogue {
    projections: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    generation: u32,
    /// What the definition means, so that a comment changed is no change.
    meaning: String,
}

impl Projection {
    /// The projection of a definition, in one generation.
    pub fn new(definition: Definition, generation: u32) -> Self {
        let view = view::of(&definition);
        let name = definition.name.as_str().into();
        Self { definition, generation, view, name }
    }

    /// Its name, and how it stands where it has yet to fold everything.
    pub fn live(&self) -> (String, Live) {
        (self.definition.name.clone(), Live { generation: self.generation, broken: None })
    }

    /// Where the view is kept.
    pub fn space(&self) -> Space {
        Space::View(Arc::clone(&self.name), self.generation)
    }

    /// Whether it is in the live set of a partition.
    pub fn is_live(&self, head: &Head) -> bool {
        head.live(&self.name, self.generation).is_some_and(|live| live.broken.is_none())
    }

    /// What of an event of this type and these values goes into the view: see [`Definition::elements`].
    pub fn elements(&self, kind: &EventType, values: &[Value<'_>]) -> impl Iterator<Item = usize> {
        let removes = self.definition.view.is_removed_by(kind);
        let fed = self.definition.is_on(kind).then(|| self.definition.elements(kind, values));
        removes.then_some(0).into_iter().chain(fed.into_iter().flatten())
    }
}

/// Puts these definitions in force, and empties the store if it was folded with others.
///
/// # Errors
/// Where the store cannot be read or emptied.
pub async fn open(store: &dyn Store, definitions: Vec<Definition>) -> anyhow::Result<Vec<Projection>> {
    let stored = store.catalogue().await.context("cannot read the store's catalogue")?;
    let before: Catalogue = match &stored {
        Some(text) => serde_json::from_slice(text).context("the store's catalogue cannot be read")?,
        None => Catalogue::default(),
    };
    let wanted = before.with(&definitions);
    if stored.is_none() || wanted != before {
        tracing::info!(changed = ?wanted.changes(&before), "folding from the start of the log");
        store.reset(serde_json::to_vec(&wanted)?).await.context("cannot empty the store")?;
    }
    let generation = |definition: &Definition| wanted.projections[&definition.name].generation;
    let in_force = definitions.into_iter().map(|definition| {
        let generation = generation(&definition);
        Projection::new(definition, generation)
    });
    Ok(in_force.collect())
}

/// Refuses definitions that mean something else than those in force, for whoever may not replace them.
///
/// # Errors
/// Which they are, or that the store cannot be read.
pub async fn agree(store: &dyn Store, definitions: &[Definition]) -> anyhow::Result<()> {
    let Some(stored) = store.catalogue().await.context("cannot read the store's catalogue")? else {
        return Ok(());
    };
    let in_force: Catalogue =
        serde_json::from_slice(&stored).context("the store's catalogue cannot be read")?;
    let wanted = in_force.with(definitions);
    ensure!(
        wanted == in_force,
        "other definitions are in force than this process has, of {}: a process that does not fold puts none in force; start one \
         that folds with these definitions first, or this one with those in force",
        wanted.changes(&in_force).join(", ")
    );
    Ok(())
}

impl Catalogue {
    fn with(&self, definitions: &[Definition]) -> Self {
        let entry = |definition: &Definition| {
            let meaning = definition.to_string();
            let generation = match self.projections.get(&definition.name) {
                Some(before) if before.meaning == meaning => before.generation,
                Some(before) => before.generation + 1,
                None => 1,
            };
            (definition.name.clone(), Entry { generation, meaning })
        };
        Self { projections: definitions.iter().map(entry).collect() }
    }

    fn changes<'s>(&'s self, before: &'s Self) -> Vec<&'s str> {
        let names = self.projections.keys().chain(before.projections.keys());
        let changed = |name: &&String| self.projections.get(*name) != before.projections.get(*name);
        let mut names: Vec<_> = names.filter(changed).map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}
