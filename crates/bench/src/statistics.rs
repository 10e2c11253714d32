//! The little arithmetic that figures need.

use std::time::Duration;

/// 0 of nothing.
pub fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    let middle = samples.len() / 2;
    match samples.len() {
        0 => 0.0,
        length if length % 2 == 1 => samples[middle],
        _ => f64::midpoint(samples[middle - 1], samples[middle]),
    }
}

/// Slope of the straight line of least squares through samples taken one `every`
/// apart, per minute. 0 of fewer than two.
pub fn slope_per_minute(samples: &[f64], every: Duration) -> f64 {
    let count = samples.len() as f64;
    let middle = (count - 1.0) / 2.0;
    let mean = samples.iter().sum::<f64>() / count.max(1.0);
    let (mut over, mut under) = (0.0, 0.0);
    for (place, sample) in samples.iter().enumerate() {
        let offset = place as f64 - middle;
        over += offset * (sample - mean);
        under += offset * offset;
    }
    if under == 0.0 { 0.0 } else { over / under * 60.0 / every.as_secs_f64() }
}

/// `part` of `whole`; 0 where there is no whole.
pub fn ratio(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        for (samples, expected) in
            [(vec![], 0.0), (vec![3.0, 1.0, 2.0], 2.0), (vec![4.0, 1.0, 3.0, 2.0], 2.5)]
        {
            assert!((median(samples) - expected).abs() < f64::EPSILON);
        }
    }

    #[test]
    fn a_steady_growth_is_found_through_noise_around_it() {
        let second = Duration::from_secs(1);
        let growing: Vec<f64> = (0..120).map(|at| 100.0 + f64::from(at) * 0.5).collect();
        let noisy: Vec<f64> =
            (0..120).map(|at| 100.0 + f64::from(at) * 0.5 + if at % 2 == 0 { 3.0 } else { -3.0 }).collect();
        for (samples, expected, tolerance) in [
            (growing, 30.0, 1e-9),
            (noisy, 30.0, 0.2),
            (vec![7.0; 10], 0.0, 1e-9),
            (vec![7.0], 0.0, 0.0),
            (vec![], 0.0, 0.0),
        ] {
            let found = slope_per_minute(&samples, second);
            assert!((found - expected).abs() <= tolerance, "{found}, not {expected}");
        }
    }
}
