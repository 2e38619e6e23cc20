//! What the catalog measures.

use bazaar_service::metric_table;

metric_table! {
    /// The catalog's metrics.
    METRICS {
        EXPOSED_INDEX: gauge_named "bazaar_catalog_exposed_index" "The log index that readers see.";
        APPLIED_INDEX: gauge_named "bazaar_catalog_applied_index"
            "The log index that the copy holds; above the exposed one while frontends are waited for.";
        WRITE_SECONDS: histogram_named "bazaar_catalog_write_seconds" "Time of a write to the catalog's copy.";
        EXPOSURE_SECONDS: histogram_named "bazaar_catalog_exposure_seconds"
            "Time from the begin of a batch to its exposure; long if a frontend does not acknowledge.";
        ACK_WAIT_SECONDS: histogram_named "bazaar_catalog_ack_wait_seconds"
            "The same for batches that a frontend with a lease had to be told of: the time spent waiting for acks.";
        APPLIED_ITEMS: counter_named "bazaar_catalog_applied_items_total" "Trades and listing changes decided.";
        PUBLISH_GAPS: counter_named "bazaar_catalog_publish_gaps_total"
            "Batches refused because something before them was missing.";
        PUBLISHES_UNDER_WAY: gauge_named "bazaar_catalog_publishes_under_way"
            "Batches of the leader that are not answered yet, the one in progress included.";
        PUSH_RETRIES: counter_named "bazaar_catalog_push_retries_total" "Invalidations that were sent again.";
        LEASE_FAILURES: counter_named "bazaar_catalog_lease_failures_total" "Attempts in which no replica gave a lease.";
        REFUSED_LOOKUPS: counter_named "bazaar_catalog_refused_lookups_total" "Lookups answered with 503.";
        SERVING: gauge_named "bazaar_catalog_serving" "1 if lookups are answered as current, else 0.";
        FRONTENDS: gauge_named "bazaar_catalog_frontends" "Frontends with a lease.";
        SHUNNED_FRONTENDS: gauge_named "bazaar_catalog_shunned_frontends"
            "Frontends that get no lease because of their acks.";
        STOCKS: gauge_named "bazaar_catalog_stocks" "Stocks that are listed.";
    }
}
