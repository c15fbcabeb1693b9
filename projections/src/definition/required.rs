//! The projections that the systems' own routes are built on, and what they must be.

/// A projection that a route reads.
pub(super) struct Required {
    /// Its name.
    pub(super) name: &'static str,
    /// The routes that read it.
    route: &'static str,
    /// What it must mean, as a definition displays itself.
    pub(super) meaning: &'static str,
}

/// Whatever a directory says, these stay as they are, but for title, description and comments.
pub(super) const REQUIRED: [Required; 7] = [
    Required { name: "detections", route: "GET /detections", meaning: "on vehicle.detected: rows" },
    Required { name: "food_counts", route: "GET /aggregated", meaning: "on food.observed: counts by food" },
    Required {
        name: "introduction_history",
        route: "GET /introductions/{id}/history",
        meaning: "on introduction.introduced, introduction.revised, introduction.withdrawn: rows by id",
    },
    Required {
        name: "introductions",
        route: "GET /introductions",
        meaning: "on introduction.introduced, introduction.revised: latest, removed on introduction.withdrawn",
    },
    Required {
        name: "picture_weights",
        route: "GET /pictures/stats",
        meaning: "on picture.registered: stats of weight",
    },
    Required {
        name: "purchases_by_day",
        route: "GET /purchases/{shop_id}",
        meaning: "on purchase.recorded: rows by shop_id, ordered by timestamp",
    },
    Required {
        name: "vehicles_per_make",
        route: "GET /stats",
        meaning: "on vehicle.detected: counts by make",
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

    /// Why it cannot mean this, if it cannot.
    pub(super) fn differs(&self, found: &str) -> Option<String> {
        let Self { name, route, meaning } = self;
        let reason =
            || format!("{name} must stay `{meaning}`, for {route} is built on it; this is `{found}`");
        (found != *meaning).then(reason)
    }
}
