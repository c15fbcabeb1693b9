//! Commands as the five systems' producers send them, made up: the same in each run with the same seed, but for the ids
//! and times of purchases, for a purchase is made once.

use super::system::System;
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use refold_domain::detections::Detection;
use refold_domain::foods::Food;
use refold_domain::introductions::Introduction;
use refold_domain::pictures::Picture;
use refold_domain::purchases::{FLAVOURS, Purchase, Scoop};
use serde::Serialize;
use uuid::Uuid;

/// What is eaten, the most frequent first.
const FOODS: [&str; 24] = [
    "pie",
    "porridge",
    "lentil soup",
    "sandwich",
    "burrito",
    "rice",
    "noodles",
    "salad",
    "dumplings",
    "curry",
    "omelette",
    "bread",
    "apple",
    "banana",
    "cheese",
    "yoghurt",
    "pancakes",
    "risotto",
    "falafel",
    "ravioli",
    "goulash",
    "kimchi",
    "ceviche",
    "crème brûlée",
];
/// What drives past: make, model and category, the most frequent first.
const VEHICLES: [(&str, &str, &str); 16] = [
    ("Toyota", "Corolla", "Sedan"),
    ("Volkswagen", "Golf", "Hatchback"),
    ("Ford", "F150 Super Cab", "Pickup"),
    ("Toyota", "RAV4", "SUV"),
    ("Honda", "Civic", "Sedan, Coupe"),
    ("Chevrolet", "Suburban", "SUV"),
    ("Audi", "Q3", "SUV"),
    ("BMW", "3 Series", "Sedan"),
    ("Hyundai", "Elantra", "Sedan"),
    ("Nissan", "Frontier Crew Cab", "Pickup"),
    ("Kia", "Sedona", "Van/Minivan"),
    ("Mazda", "MX-5 Miata", "Convertible"),
    ("Volvo", "V60", "Wagon"),
    ("Fiat", "500", "Hatchback"),
    ("Jaguar", "F-TYPE", "Coupe, Convertible"),
    ("Toyota", "Land Cruiser", "SUV"),
];
/// Who says hello.
const NAMES: [&str; 12] = [
    "Ada",
    "Alan",
    "Barbara",
    "Donald",
    "Edsger",
    "Grace",
    "John",
    "Katherine",
    "Leslie",
    "Niklaus",
    "Radia",
    "Tony",
];
/// What they say.
const MESSAGES: [&str; 4] =
    ["Hello", "Good to be here", "I like machines that do as they are told", "Ask me about kites"];
/// The first of the shops; the others follow it.
const SHOP: Uuid = Uuid::from_u128(0x91e1_a2db_9c1c_4b3e_9f0a_1c1e_4e4d_0001);
const SHOPS: u128 = 10;
const PICTURES: u32 = 100;
const YEARS: std::ops::RangeInclusive<i64> = 1992..=2020;
const WEIGHT_GRAMS: std::ops::RangeInclusive<i64> = 20..=4_999;
const PRICES_CENTS: [i64; 4] = [150, 180, 200, 250];
const SCOOPS: std::ops::RangeInclusive<usize> = 1..=3;
const QUANTITY: std::ops::RangeInclusive<i64> = 1..=3;

/// Makes commands up.
#[derive(Debug)]
pub(super) struct Samples(StdRng);

impl Samples {
    /// Those of a seed.
    pub(super) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// The next command of a system, as JSON.
    pub(super) fn next(&mut self, system: System) -> Vec<u8> {
        match system {
            System::Introductions => written(&self.introduction()),
            System::Foods => written(&Food { food: self.frequent(&FOODS).into() }),
            System::Purchases => written(&self.purchase()),
            System::Detections => written(&self.detection()),
            System::Pictures => written(&self.picture()),
        }
    }

    fn introduction(&mut self) -> Introduction {
        let name = self.one_of(&NAMES);
        let page = format!("https://example.org/{}", name.to_lowercase());
        Introduction {
            name: name.into(),
            message: self.one_of(&MESSAGES).into(),
            email: self.0.random_bool(0.5).then(|| format!("{}@example.org", name.to_lowercase())),
            links: self.0.random_bool(0.5).then(|| vec![page]),
        }
    }

    fn purchase(&mut self) -> Purchase {
        let scoops = self.0.random_range(SCOOPS);
        Purchase {
            shop_id: Uuid::from_u128(SHOP.as_u128() + self.0.random_range(0..SHOPS)),
            purchase_id: Uuid::now_v7(),
            timestamp: Timestamp::now(),
            scoops: (0..scoops).map(|_| self.scoop()).collect(),
        }
    }

    fn scoop(&mut self) -> Scoop {
        Scoop {
            flavour: self.one_of(&FLAVOURS).into(),
            quantity: self.0.random_range(QUANTITY),
            price: self.one_of(&PRICES_CENTS),
        }
    }

    fn detection(&mut self) -> Detection {
        let (make, model, category) = self.frequent(&VEHICLES);
        let year = self.0.random_range(YEARS);
        Detection { year, make: make.into(), model: model.into(), category: category.into() }
    }

    fn picture(&mut self) -> Picture {
        let picture_id = format!("{:012}", self.0.random_range(1..=PICTURES));
        Picture { picture_id, weight: self.0.random_range(WEIGHT_GRAMS) }
    }

    fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.0.random_range(0..list.len())]
    }

    /// Of two the earlier one: so the first of a list comes most often, and the last seldom.
    fn frequent<T: Copy>(&mut self, list: &[T]) -> T {
        let mut index = || self.0.random_range(0..list.len());
        list[index().min(index())]
    }
}

fn written(command: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(command).expect("a command is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many commands of each system.
    const SAMPLES: usize = 500;

    #[test]
    fn every_sample_is_a_command() {
        let mut samples = Samples::new(7);
        for system in System::ALL.repeat(SAMPLES) {
            let command = samples.next(system);
            let read = serde_json::from_slice(&command).unwrap();
            assert_eq!(system.check(&read), Ok(()), "{read}");
        }
    }

    #[test]
    fn a_seed_makes_the_same_again() {
        let made = |seed| {
            let mut samples = Samples::new(seed);
            [System::Introductions, System::Foods, System::Detections, System::Pictures]
                .repeat(SAMPLES)
                .into_iter()
                .map(|system| samples.next(system))
                .collect::<Vec<_>>()
        };
        assert!(made(1) == made(1) && made(1) != made(2));
    }

    #[test]
    fn a_purchase_is_made_once() {
        let of = |seed| Samples::new(seed).purchase();
        assert_ne!(of(1).purchase_id, of(1).purchase_id);
        assert_eq!(of(1).scoops, of(1).scoops);
    }
}
