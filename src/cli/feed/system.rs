//! The five systems as their producers see them: where a command goes and what it must look like.

use clap::ValueEnum;
use refold_domain::detections::Detection;
use refold_domain::foods::Food;
use refold_domain::introductions::Introduction;
use refold_domain::pictures::Picture;
use refold_domain::purchases::Purchase;
use refold_domain::validation::FieldError;
use serde::Serialize;
use serde_json::Value;

/// A system that takes commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum System {
    /// Somebody introduces themselves
    Introductions,
    /// Somebody ate something
    Foods,
    /// Somebody bought ice cream
    Purchases,
    /// A camera saw a vehicle
    Detections,
    /// A picture was weighed
    Pictures,
}

/// A column that a table of commands may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Column {
    /// The command's field.
    pub(super) name: &'static str,
    /// Whether a number stands in it.
    pub(super) is_number: bool,
}

impl System {
    /// All of them.
    pub(super) const ALL: [Self; 5] =
        [Self::Introductions, Self::Foods, Self::Purchases, Self::Detections, Self::Pictures];

    /// What it is called, and the last part of its path.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Introductions => "introductions",
            Self::Foods => "foods",
            Self::Purchases => "purchases",
            Self::Detections => "detections",
            Self::Pictures => "pictures",
        }
    }

    /// Whether it takes many commands in one request.
    pub(super) fn takes_lines(self) -> bool {
        self != Self::Introductions
    }

    /// Reads a command as the service will.
    ///
    /// # Errors
    /// Every bad field.
    pub(super) fn check(self, command: &Value) -> Result<(), Vec<FieldError>> {
        match self {
            Self::Introductions => Introduction::parse(command).map(drop),
            Self::Foods => Food::parse(command).map(drop),
            Self::Purchases => Purchase::parse(command).map(drop),
            Self::Detections => Detection::parse(command).map(drop),
            Self::Pictures => Picture::parse(command).map(drop),
        }
    }

    /// What a table of its commands may hold; nothing where a cell has no place for a field.
    pub(super) fn columns(self) -> &'static [Column] {
        const fn text(name: &'static str) -> Column {
            Column { name, is_number: false }
        }
        const fn number(name: &'static str) -> Column {
            Column { name, is_number: true }
        }
        match self {
            Self::Introductions => const { &[text("name"), text("message"), text("email")] },
            Self::Foods => const { &[text("food")] },
            Self::Purchases => &[],
            Self::Detections => const { &[number("year"), text("make"), text("model"), text("category")] },
            Self::Pictures => const { &[text("picture_id"), number("weight")] },
        }
    }
}
