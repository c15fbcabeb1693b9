//! Purchases: record one, once; and read those of a shop on a day.

use super::Tag;
use super::body::Parse;
use super::each::{Answered, Single, each, execute};
use super::failure::{Commanding, Failure, Querying};
use super::ndjson::Sent;
use super::problem::Problem;
use super::reading::{page, wait_for_receipts};
use super::recording::{Call, data};
use super::typed::Typed;
use crate::commands::Origin;
use crate::service::Service;
use anyhow::Context;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use poem::Request;
use poem_openapi::param::{Path, Query as Parameter};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};
use refold_domain::decision::{Decision, Rejection};
use refold_domain::hash::Hash;
use refold_domain::purchases;
use refold_domain::validation::FieldError;
use refold_projections::query::QueryError;
use refold_projections::view::Query;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use uuid::{Uuid, uuid};

/// The routes of the ice-cream purchases.
pub struct Purchases(pub Arc<Service>);

/// A purchase.
#[derive(Debug, Object, Deserialize)]
#[oai(example)]
pub struct Purchase {
    /// The shop
    shop_id: Uuid,
    /// The purchase's own id; one id is one purchase
    purchase_id: Uuid,
    /// When it was made: RFC 3339, with a blank or a T, UTC without an offset
    timestamp: Typed<Timestamp>,
    /// What was bought
    #[oai(validator(min_items = 1, max_items = 1000))]
    scoops: Vec<Scoop>,
}

/// Scoops of one flavour.
#[derive(Debug, Object, Deserialize)]
pub struct Scoop {
    /// The flavour
    #[oai(rename = "type")]
    #[serde(rename = "type")]
    flavour: Flavour,
    /// How many
    #[oai(validator(minimum(value = "1"), maximum(value = "1000000")))]
    quantity: i64,
    /// The price of each in cents
    #[oai(validator(minimum(value = "1"), maximum(value = "1000000000")))]
    price: i64,
}

/// A flavour on sale.
#[derive(Debug, Enum, Deserialize)]
#[oai(rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
pub enum Flavour {
    /// Banana.
    Banana,
    /// Chocolate.
    Chocolate,
    /// Lemon.
    Lemon,
    /// Pistachio.
    Pistachio,
    /// Raspberry.
    Raspberry,
    /// Strawberry.
    Strawberry,
    /// Vanilla.
    Vanilla,
}

#[derive(ApiResponse)]
enum Bought {
    /// It is recorded
    #[oai(status = 201)]
    Created(Json<Purchase>, #[oai(header = "Refold-Receipt")] String),
    /// The very same purchase was recorded before; or there were many, and each has an answer of its own
    #[oai(status = 200)]
    Known(Json<Answered<Purchase>>, #[oai(header = "Refold-Receipt")] Option<String>),
}

#[derive(ApiResponse)]
enum OfShop {
    /// The shop's purchases of that day, the newest first
    #[oai(status = 200)]
    Page(
        Json<Vec<Purchase>>,
        #[oai(header = "Refold-Position")] String,
        /// Where the next page is, if there is one: `<...>; rel="next"`
        #[oai(header = "Link")]
        Option<String>,
    ),
}

impl Example for Purchase {
    fn example() -> Self {
        Self {
            shop_id: uuid!("91e1a2db-9c1c-4b3e-9f0a-1c1e4e4d0001"),
            purchase_id: uuid!("91e1a2db-9c1c-4b3e-9f0a-1c1e4e4d0002"),
            timestamp: Typed(Timestamp::constant(1_769_846_400, 0)),
            scoops: vec![Scoop { flavour: Flavour::Chocolate, quantity: 2, price: 200 }],
        }
    }
}

impl Parse for purchases::Purchase {
    type Schema = Purchase;

    fn parse(body: &Value) -> Result<Self, Vec<FieldError>> {
        Self::parse(body)
    }
}

#[OpenApi(tag = "Tag::Purchases")]
impl Purchases {
    /// Record a purchase, or many, a line each
    ///
    /// A purchase id is recorded once: the same purchase again is answered 200, another with its id 409. Many are answered
    /// 200, whatever becomes of them: `answers` has for each line what it would be answered alone.
    ///
    /// An `Idempotency-Key` is remembered beside the `purchase_id`: under the same key, a purchase with another id is
    /// recorded as one of its own.
    #[oai(path = "/purchases", method = "post")]
    async fn record(
        &self,
        request: &Request,
        sent: Sent<purchases::Purchase>,
    ) -> Result<Bought, Failure<Commanding>> {
        let call = Call::of(request, "POST /purchases")?;
        let purchase = match sent {
            Sent::One(purchase) => purchase,
            Sent::Many(purchases) => {
                let (answers, receipts) = each(&self.0.commands, &call, &purchases).await?;
                return Ok(Bought::Known(Json(Answered::Many(answers)), receipts));
            }
        };
        let recorded = execute(&self.0.commands, &call, None, &purchase).await?;
        let (shown, receipt) = (data(&recorded)?, recorded.receipt.to_string());
        let is_known = recorded.origin == Origin::RepeatedContent;
        Ok(if is_known {
            Bought::Known(Json(Answered::One(shown)), Some(receipt))
        } else {
            Bought::Created(Json(shown), receipt)
        })
    }

    /// The purchases of a shop on a day
    #[oai(path = "/purchases/:shop_id", method = "get")]
    async fn of_shop(
        &self,
        request: &Request,
        /// The shop
        shop_id: Path<Uuid>,
        /// The day in UTC; today unless said
        date: Parameter<Option<Typed<Date>>>,
        /// How many purchases to answer at most, 100 unless said; a page of large ones has fewer
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Parameter<Option<u32>>,
        /// Where to go on, from the `Link` of the last page
        cursor: Parameter<Option<String>>,
    ) -> Result<OfShop, Failure<Querying>> {
        let reached = wait_for_receipts(&self.0, request).await?;
        let today = || Timestamp::now().to_zoned(TimeZone::UTC).date();
        let day = date.0.map_or_else(today, |Typed(day)| day);
        let query = of_day(shop_id.0, day)?;
        let page = self.0.page("purchases_by_day", &page(query, cursor.0, limit.0), &reached).await?;
        let purchases = page.data.into_iter().map(purchase).collect::<Result<_, QueryError>>()?;
        let link = page.next.map(|next| {
            let limit = limit.0.map(|limit| format!("&limit={limit}")).unwrap_or_default();
            format!("</purchases/{}?date={day}{limit}&cursor={next}>; rel=\"next\"", shop_id.0)
        });
        Ok(OfShop::Page(Json(purchases), page.position.to_string(), link))
    }
}

impl Single for purchases::Purchase {
    fn key(&self) -> String {
        self.key()
    }

    fn stream(&self) -> String {
        self.stream()
    }

    fn decide(&self, recorded: Option<Hash>) -> Result<Decision, Rejection> {
        self.decide(recorded)
    }
}

fn of_day(shop: Uuid, day: Date) -> Result<Query, Problem> {
    let outside = |_| Problem::parameter("date", "is too far away");
    let start = day.to_zoned(TimeZone::UTC).map_err(outside)?;
    let end = start.checked_add(1.day()).map_err(outside)?;
    let by = [("shop_id".to_owned(), shop.to_string())].into();
    Ok(Query { by, from: Some(start.timestamp()), until: Some(end.timestamp()), ..Query::default() })
}

fn purchase(mut row: Value) -> Result<Purchase, QueryError> {
    Ok(serde_json::from_value(row["data"].take()).context("a row of the view purchases_by_day")?)
}
