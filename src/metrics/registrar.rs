//! How a series is made: under the broker's name, in the broker's registry, bounded labels at 0.

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

use super::MetricsError;
use super::labels::{Each, Label};

/// Makes series in a registry.
pub(super) struct Registrar<'a>(&'a Registry);

impl<'a> Registrar<'a> {
    pub(super) fn new(registry: &'a Registry) -> Self {
        Self(registry)
    }

    fn add<C: Collector + Clone + 'static>(&self, collector: C) -> Result<C, MetricsError> {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, MetricsError> {
        self.add(IntGauge::with_opts(opts(name, help))?)
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> Result<IntCounter, MetricsError> {
        self.add(IntCounter::with_opts(opts(name, help))?)
    }

    pub(super) fn histogram(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
    ) -> Result<Histogram, MetricsError> {
        self.add(Histogram::with_opts(histogram_opts(name, help, buckets))?)
    }

    pub(super) fn gauge_vec(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec, MetricsError> {
        self.add(IntGaugeVec::new(opts(name, help), labels)?)
    }

    pub(super) fn counter_vec(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, MetricsError> {
        self.add(IntCounterVec::new(opts(name, help), labels)?)
    }

    pub(super) fn histogram_vec(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> Result<HistogramVec, MetricsError> {
        self.add(HistogramVec::new(
            histogram_opts(name, help, buckets),
            labels,
        )?)
    }

    pub(super) fn counters<L: Label>(
        &self,
        name: &str,
        help: &str,
        label: &str,
    ) -> Result<Each<L, IntCounter>, MetricsError> {
        let family = self.counter_vec(name, help, &[label])?;
        Ok(Each::make(|value: L| {
            family.with_label_values(&[value.as_str()])
        }))
    }

    pub(super) fn gauges<L: Label>(
        &self,
        name: &str,
        help: &str,
        label: &str,
    ) -> Result<Each<L, IntGauge>, MetricsError> {
        let family = self.gauge_vec(name, help, &[label])?;
        Ok(Each::make(|value: L| {
            family.with_label_values(&[value.as_str()])
        }))
    }

    pub(super) fn histograms<L: Label>(
        &self,
        name: &str,
        help: &str,
        label: &str,
        buckets: &[f64],
    ) -> Result<Each<L, Histogram>, MetricsError> {
        let family = self.histogram_vec(name, help, &[label], buckets)?;
        Ok(Each::make(|value: L| {
            family.with_label_values(&[value.as_str()])
        }))
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("fanfare")
}

fn histogram_opts(name: &str, help: &str, buckets: &[f64]) -> HistogramOpts {
    HistogramOpts::new(name, help)
        .namespace("fanfare")
        .buckets(buckets.to_vec())
}
