//! The projections that the systems' own routes are built on, and what they must be.

use super::Definition;
use super::fields;

/// A projection that a route reads.
pub(super) struct Required {
    /// Its name.
    pub(super) name: &'static str,
    /// The routes that read it.
    route: &'static str,
    /// What it must mean.
    pub(super) meaning: Meaning,
}

/// What a definition must mean.
pub(super) enum Meaning {
    /// Exactly this, as a definition displays itself.
    Exactly(&'static str),
    /// It takes events of this type and no other; which of them, and what is made of them, is free.
    On(&'static str),
}

/// Whatever a directory says, these stay what they must mean; title, description and comments are free.
pub(super) const REQUIRED: [Required; 8] = [
    Required {
        name: "detections",
        route: "GET /detections",
        meaning: Meaning::Exactly("on vehicle.detected: rows"),
    },
    Required {
        name: "food_counts",
        route: "GET /aggregated",
        meaning: Meaning::Exactly("on food.observed: counts by food"),
    },
    Required {
        name: "introduction_history",
        route: "GET /introductions/{id}/history",
        meaning: Meaning::Exactly(
            "on introduction.introduced, introduction.revised, introduction.withdrawn: rows by id",
        ),
    },
    Required {
        name: "introductions",
        route: "GET /introductions",
        meaning: Meaning::Exactly(
            "on introduction.introduced, introduction.revised: latest, removed on introduction.withdrawn",
        ),
    },
    Required {
        name: "picture_weights",
        route: "GET /pictures/stats",
        meaning: Meaning::Exactly("on picture.registered: stats of weight"),
    },
    Required {
        name: "purchases_by_day",
        route: "GET /purchases/{shop_id}",
        meaning: Meaning::Exactly("on purchase.recorded: rows by shop_id, ordered by timestamp"),
    },
    Required { name: "suspicious_vehicles", route: "GET /alerts", meaning: Meaning::On("vehicle.detected") },
    Required {
        name: "vehicles_per_make",
        route: "GET /stats",
        meaning: Meaning::Exactly("on vehicle.detected: counts by make"),
    },
];

impl Required {
    /// The entry of this name.
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        REQUIRED.iter().find(|required| required.name == name)
    }

    /// Why it cannot be switched off.
    pub(super) fn off(&self) -> String {
        format!("{} cannot be switched off: {} is built on it", self.name, self.route)
    }

    /// Why it cannot be this one, if it cannot.
    pub(super) fn differs(&self, found: &Definition) -> Option<String> {
        let Self { name, route, meaning } = self;
        let (wanted, is) = match meaning {
            Meaning::Exactly(wanted) => ((*wanted).to_owned(), found.to_string()),
            Meaning::On(kind) => (format!("on {kind}"), format!("on {}", fields::names(&found.on))),
        };
        let reason = || format!("{name} must stay `{wanted}`, for {route} is built on it; this is `{is}`");
        (is != wanted).then(reason)
    }
}
