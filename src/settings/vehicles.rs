//! What the vehicle detections are watched for.

use super::{Deserialize, Deserializer, Serialize, Serializer};
use refold_projections::definition::Categories;

/// What the vehicle detections are watched for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vehicles {
    /// The categories that raise an alert.
    #[serde(with = "text")]
    pub suspicious: Categories,
}

mod text {
    //! Categories written as one text.

    use super::{Categories, Deserialize, Deserializer, Serialize, Serializer};
    use serde::de::Error;

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(value: D) -> Result<Categories, D::Error> {
        String::deserialize(value)?.parse().map_err(D::Error::custom)
    }

    pub(super) fn serialize<S: Serializer>(value: &Categories, to: S) -> Result<S::Ok, S::Error> {
        value.to_string().serialize(to)
    }
}
