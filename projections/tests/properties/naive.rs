//! Views as one would say them: all events in one list, filtered, grouped and sorted anew for each answer.

use crate::model::Happened;
use jiff::Timestamp;
use refold_projections::view::Query;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use uuid::Uuid;

/// A view in words of the test.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    pub(crate) name: &'static str,
    /// Its definition without the name.
    pub(crate) text: &'static str,
    pub(crate) on: &'static [&'static str],
    /// The only foods that count, if not all do.
    pub(crate) foods: Option<&'static [&'static str]>,
    pub(crate) by: &'static [&'static str],
    pub(crate) shape: Shape,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    Counts,
    /// Ordered by this field, or by the commit's time.
    Rows(Option<&'static str>),
    /// By `by`, and where that is empty by the event's own key, until one of these takes it away.
    Latest(&'static [&'static str]),
}

const INTRODUCED: &[&str] = &["introduction.introduced", "introduction.revised"];

/// Of each kind of view some, the compiled-in ones among them.
pub(crate) const VIEWS: &[View] = &[
    View {
        name: "total",
        text: "on = 'food.observed'\ncount = {}",
        on: &["food.observed"],
        foods: None,
        by: &[],
        shape: Shape::Counts,
    },
    View {
        name: "food_counts",
        text: "on = 'food.observed'\ncount = { by = 'food' }",
        on: &["food.observed"],
        foods: None,
        by: &["food"],
        shape: Shape::Counts,
    },
    View {
        name: "sweets",
        text: "on = 'food.observed'\nwhere = { food = ['pie', 'pi'] }\nrows = { by = 'food' }",
        on: &["food.observed"],
        foods: Some(&["pie", "pi"]),
        by: &["food"],
        shape: Shape::Rows(None),
    },
    View {
        name: "addresses",
        text: "on = ['introduction.introduced', 'introduction.revised']\ncount = { by = ['email', 'version'] }",
        on: INTRODUCED,
        foods: None,
        by: &["email", "version"],
        shape: Shape::Counts,
    },
    View {
        name: "moments",
        text: "on = 'purchase.recorded'\ncount = { by = ['shop_id', 'timestamp'] }",
        on: &["purchase.recorded"],
        foods: None,
        by: &["shop_id", "timestamp"],
        shape: Shape::Counts,
    },
    View {
        name: "purchases_by_day",
        text: "on = 'purchase.recorded'\nrows = { by = 'shop_id', time = 'timestamp' }",
        on: &["purchase.recorded"],
        foods: None,
        by: &["shop_id"],
        shape: Shape::Rows(Some("timestamp")),
    },
    View {
        name: "introduction_history",
        text: "on = ['introduction.introduced', 'introduction.revised', 'introduction.withdrawn']\nrows = { by = 'id' }",
        on: &["introduction.introduced", "introduction.revised", "introduction.withdrawn"],
        foods: None,
        by: &["id"],
        shape: Shape::Rows(None),
    },
    View {
        name: "diary",
        text: "on = 'food.observed'\nrows = {}",
        on: &["food.observed"],
        foods: None,
        by: &[],
        shape: Shape::Rows(None),
    },
    View {
        name: "newest_purchase",
        text: "on = 'purchase.recorded'\nlatest = { by = 'shop_id' }",
        on: &["purchase.recorded"],
        foods: None,
        by: &["shop_id"],
        shape: Shape::Latest(&[]),
    },
    View {
        name: "introductions",
        text: "on = ['introduction.introduced', 'introduction.revised']\nlatest = { remove_on = 'introduction.withdrawn' }",
        on: INTRODUCED,
        foods: None,
        by: &[],
        shape: Shape::Latest(&["introduction.withdrawn"]),
    },
];

/// A value of a field, sorted as keys must be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Absent,
    Text(String),
    Integer(i64),
    Time(i128),
}

impl Part {
    fn of(field: &str, value: &Json) -> Self {
        match value {
            Json::String(text) if field == "timestamp" => Self::Time(nanoseconds(text)),
            Json::String(text) => Self::Text(text.clone()),
            Json::Number(number) => Self::Integer(number.as_i64().unwrap()),
            _ => Self::Absent,
        }
    }

    fn asked(field: &str, text: &str) -> Self {
        match field {
            "timestamp" => Self::Time(nanoseconds(text)),
            "version" => Self::Integer(text.parse().unwrap()),
            _ => Self::Text(text.into()),
        }
    }

    fn shown(&self) -> Json {
        match self {
            Self::Absent => Json::Null,
            Self::Text(text) => text.as_str().into(),
            Self::Integer(number) => (*number).into(),
            Self::Time(at) => Timestamp::from_nanosecond(*at).unwrap().to_string().into(),
        }
    }
}

fn nanoseconds(text: &str) -> i128 {
    text.parse::<Timestamp>().unwrap().as_nanosecond()
}

/// The order of ids: by numbers, not by digits.
type Id = (u32, Uuid, u64, u32, u32);

fn id(happened: &Happened) -> Id {
    let receipt = &happened.id.receipt;
    (receipt.partition, receipt.writer, receipt.seq, receipt.command, happened.id.index)
}

fn data(happened: &Happened) -> Json {
    serde_json::from_str(&happened.event.data).unwrap()
}

fn entry(happened: &Happened) -> Json {
    json!({
        "id": happened.id.to_string(), "time": happened.time.to_string(),
        "type": happened.event.kind, "data": data(happened),
    })
}

impl View {
    /// The definition's text.
    pub(crate) fn definition(&self) -> String {
        format!("name = '{}'\n{}", self.name, self.text)
    }

    /// The whole answer to a query. The events of one partition stand in log order.
    pub(crate) fn answer(&self, events: &[Happened], query: &Query) -> Vec<Json> {
        let asked = |it: &&Happened| {
            let parts = self.parts(it);
            let fields = self.by.iter().zip(parts);
            fields
                .into_iter()
                .all(|(field, part)| query.by.get(*field).is_none_or(|text| Part::asked(field, text) == part))
        };
        let fed: Vec<_> = events.iter().filter(|it| self.takes(it)).collect();
        match self.shape {
            Shape::Counts => self.counts(fed.into_iter().filter(asked)),
            Shape::Rows(time) => self.rows(fed.into_iter().filter(asked), time, query),
            Shape::Latest(_) if self.by.is_empty() => self.last_of_key(&fed, query),
            Shape::Latest(_) => self.newest(fed.into_iter().filter(asked)),
        }
    }

    fn takes(&self, happened: &Happened) -> bool {
        let kind = happened.event.kind.as_str();
        let removes = matches!(self.shape, Shape::Latest(removing) if removing.contains(&kind));
        let food = |foods: &[&str]| data(happened)["food"].as_str().is_some_and(|it| foods.contains(&it));
        removes || (self.on.contains(&kind) && self.foods.is_none_or(food))
    }

    fn parts(&self, happened: &Happened) -> Vec<Part> {
        let data = data(happened);
        self.by.iter().map(|field| Part::of(field, &data[*field])).collect()
    }

    fn counts<'h>(&self, events: impl Iterator<Item = &'h Happened>) -> Vec<Json> {
        let mut counts = BTreeMap::<_, u64>::new();
        events.for_each(|it| *counts.entry(self.parts(it)).or_default() += 1);
        let shown = |(parts, count): (Vec<Part>, u64)| {
            let mut object = Map::new();
            for (field, part) in self.by.iter().zip(&parts) {
                object.insert((*field).into(), part.shown());
            }
            object.insert("count".into(), count.into());
            Json::Object(object)
        };
        counts.into_iter().map(shown).collect()
    }

    fn rows<'h>(
        &self,
        events: impl Iterator<Item = &'h Happened>,
        time: Option<&str>,
        query: &Query,
    ) -> Vec<Json> {
        let at = |it: &Happened| match time {
            Some(field) => nanoseconds(data(it)[field].as_str().unwrap()),
            None => it.time.as_nanosecond(),
        };
        let mut rows: Vec<_> = events.map(|it| (self.parts(it), at(it), id(it), entry(it))).collect();
        rows.retain(|(_, at, ..)| {
            query.from.is_none_or(|from| *at >= from.as_nanosecond())
                && query.until.is_none_or(|until| *at < until.as_nanosecond())
        });
        rows.sort_by(|one, other| (&one.0, one.1, one.2).cmp(&(&other.0, other.1, other.2)));
        if !query.oldest_first {
            rows.reverse();
        }
        rows.into_iter().map(|(.., entry)| entry).collect()
    }

    fn newest<'h>(&self, events: impl Iterator<Item = &'h Happened>) -> Vec<Json> {
        let mut newest = BTreeMap::<_, &Happened>::new();
        for event in events {
            let age = |it: &Happened| (it.time, id(it));
            let entry = newest.entry(self.parts(event)).or_insert(event);
            if age(event) > age(entry) {
                *entry = event;
            }
        }
        newest.into_values().map(entry).collect()
    }

    fn last_of_key(&self, events: &[&Happened], query: &Query) -> Vec<Json> {
        let mut last = BTreeMap::new();
        for event in events {
            let key = event.event.key.clone().unwrap();
            if self.on.contains(&event.event.kind.as_str()) {
                last.insert(key, entry(event));
            } else {
                last.remove(&key);
            }
        }
        last.retain(|key, _| query.by.get("key").is_none_or(|asked| asked == key));
        last.into_values().collect()
    }
}
