//! The arithmetic of a measurement: slopes, medians, and how cost grows with size.
//!
//! A slope between a short and a long run leaves out the costs of both: starting, reading the
//! configuration, ending. The median of several slopes leaves out a slope that a busy machine
//! spoiled.

/// The middle of the values; between the two in the middle where their number is even.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => f64::NAN,
        (length, middle) if length % 2 == 1 => sorted[middle],
        (_, middle) => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// The smallest value that at least the share `quantile` of all does not exceed.
pub(super) fn quantile(values: &[f64], quantile: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.iter().enumerate().map(|(index, _)| index as f64 + 1.0);
    let place = count.take_while(|rank| *rank < quantile * values.len() as f64).count();
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

/// The cost of one more snapshot.
pub(super) fn slope(short: (usize, f64), long: (usize, f64)) -> f64 {
    (long.1 - short.1) / (long.0 as f64 - short.0 as f64)
}

/// `cost = factor * size ^ exponent`, and the share of the variance that it explains.
#[derive(Debug, Clone, Copy)]
pub(super) struct PowerLaw {
    pub(super) factor: f64,
    pub(super) exponent: f64,
    pub(super) r_squared: f64,
}

impl PowerLaw {
    pub(super) fn at(&self, size: f64) -> f64 {
        self.factor * size.powf(self.exponent)
    }
}

/// Least squares through the logarithms, so that each size weighs the same; `None` if the points
/// give no line.
pub(super) fn power_law(points: &[(f64, f64)]) -> Option<PowerLaw> {
    if points.len() < 2 || points.iter().any(|&(size, cost)| size <= 0.0 || cost <= 0.0) {
        return None;
    }
    let logs: Vec<(f64, f64)> = points.iter().map(|(size, cost)| (size.ln(), cost.ln())).collect();
    let count = logs.len() as f64;
    let mean_x = logs.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = logs.iter().map(|(_, y)| y).sum::<f64>() / count;
    let spread = |a: fn(&(f64, f64)) -> f64, b: fn(&(f64, f64)) -> f64, ma: f64, mb: f64| {
        logs.iter().map(|point| (a(point) - ma) * (b(point) - mb)).sum::<f64>()
    };
    let xx = spread(|p| p.0, |p| p.0, mean_x, mean_x);
    let xy = spread(|p| p.0, |p| p.1, mean_x, mean_y);
    let yy = spread(|p| p.1, |p| p.1, mean_y, mean_y);
    if xx <= 0.0 {
        return None;
    }
    let exponent = xy / xx;
    // A level line explains equal costs wholly.
    let r_squared = if yy > 0.0 { xy * xy / (xx * yy) } else { 1.0 };
    Some(PowerLaw { factor: (mean_y - exponent * mean_x).exp(), exponent, r_squared })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quantiles() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-12);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-12);
        assert!(median(&[]).is_nan());
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert!((quantile(&hundred, 0.5) - 50.0).abs() < 1e-12);
        assert!((quantile(&hundred, 0.99) - 99.0).abs() < 1e-12);
        assert!((quantile(&hundred, 1.0) - 100.0).abs() < 1e-12);
        assert!((quantile(&[7.0], 0.5) - 7.0).abs() < 1e-12);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn a_slope_leaves_the_start_out() {
        // 30 for the start, 2.5 for each.
        assert!((slope((20, 80.0), (120, 330.0)) - 2.5).abs() < 1e-12);
    }

    #[test]
    fn the_fit_finds_the_law_that_made_the_points() {
        let sizes = [10.0, 100.0, 1e3, 1e4, 1e5_f64];
        let points = sizes.map(|size| (size, 0.25 * size.powf(1.5)));
        let law = power_law(&points).unwrap();
        assert!((law.exponent - 1.5).abs() < 1e-9 && (law.factor - 0.25).abs() < 1e-9);
        assert!((law.r_squared - 1.0).abs() < 1e-9);
        assert!((law.at(100.0) - 250.0).abs() < 1e-6);
        let level = power_law(&[(1.0, 5.0), (10.0, 5.0)]).unwrap();
        assert!(level.exponent.abs() < 1e-12);
    }

    #[test]
    fn noise_lowers_what_the_law_explains() {
        let law = power_law(&[(1.0, 1.0), (10.0, 40.0), (100.0, 60.0), (1000.0, 3000.0)]).unwrap();
        assert!(law.r_squared > 0.8 && law.r_squared < 0.99, "{law:?}");
    }

    #[test]
    fn no_law_goes_through_one_point_or_below_zero() {
        assert!(power_law(&[(1.0, 1.0)]).is_none());
        assert!(power_law(&[(1.0, 1.0), (1.0, 2.0)]).is_none());
        assert!(power_law(&[(1.0, 1.0), (2.0, -1.0)]).is_none());
    }
}
