//! The model: a European call by Monte Carlo.

use serde::{Deserialize, Serialize};

/// A point of the grid.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Its number, which seeds its generator.
    pub number: u32,
    pub strike: f64,
    pub volatility: f64,
    pub paths: u32,
}

impl Point {
    pub fn grid(side: u32, paths: u32) -> Vec<Point> {
        let at = |number: u32| {
            let (row, column) = (number / side, number % side);
            Point {
                number,
                strike: 80.0 + 40.0 * f64::from(row) / f64::from(side),
                volatility: 0.1 + 0.4 * f64::from(column) / f64::from(side),
                paths,
            }
        };
        (0..side * side).map(at).collect()
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): the same numbers on any machine, from any seed.
struct Generator(u64);

impl Generator {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In (0, 1].
    fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// Two independent normal numbers (Box and Muller 1958).
    fn normals(&mut self) -> [f64; 2] {
        let (radius, angle) = ((-2.0 * self.uniform().ln()).sqrt(), std::f64::consts::TAU * self.uniform());
        [radius * angle.cos(), radius * angle.sin()]
    }
}

/// The price at a point. The sum has one order, so it has one value.
pub fn price(point: &Point) -> f64 {
    const START: f64 = 100.0;
    const RATE: f64 = 0.02;
    const YEARS: f64 = 1.0;
    let Point { number, strike, volatility, paths } = *point;
    let mut generator = Generator(u64::from(number) << 32);
    let drift = (RATE - volatility * volatility / 2.0) * YEARS;
    let payoff = |normal: f64| {
        let end = START * (drift + volatility * YEARS.sqrt() * normal).exp();
        (end - strike).max(0.0)
    };
    let sum: f64 = (0..paths / 2).map(|_| generator.normals().map(payoff).iter().sum::<f64>()).sum();
    (-RATE * YEARS).exp() * sum / f64::from(paths / 2 * 2)
}
