//! What the frontend measures.

use bazaar_service::metric_table;

metric_table! {
    /// The frontend's metrics.
    METRICS {
        REQUEST_SECONDS: histogram_named "bazaar_frontend_request_seconds" ["type"]
            "Time of a request: lookup, list, trade, batch, order, order_page, order_by_key, leader.";
        ANSWERS: counter_named "bazaar_frontend_answers_total" ["class"]
            "Answers of the public listener, by the class of their status: 2xx, 3xx, 4xx, 5xx.";
        FAILURES: counter_named "bazaar_frontend_failures_total" ["kind"]
            "Errors that the public listener answered, alone or for one trade of a batch, by their kind (docs/http.md). A kind appears with its first error.";
        CACHE_HITS: counter_named "bazaar_frontend_cache_hits_total" "Lookups answered from the cache (X-Cache: hit).";
        CACHE_MISSES: counter_named "bazaar_frontend_cache_misses_total"
            "Lookups answered by the catalog and offered to the cache (X-Cache: miss).";
        CACHE_BYPASSES: counter_named "bazaar_frontend_cache_bypasses_total"
            "Lookups answered by the catalog, past the cache (X-Cache: bypass).";
        CACHE_INVALIDATIONS: counter_named "bazaar_frontend_cache_invalidations_total"
            "Invalidations from the catalog, and drops by hand.";
        CACHE_REFUSED_FILLS: counter_named "bazaar_frontend_cache_refused_fills_total"
            "Fetched answers that were not put into the cache.";
        CACHE_LEASE_LAPSES: counter_named "bazaar_frontend_cache_lease_lapses_total"
            "Leases that ran out; each empties the cache.";
        CACHE_LOG_DROPPED: counter_named "bazaar_frontend_cache_log_dropped_lines_total"
            "Lines of the cache log that a slow disk cost.";
        CACHE_ENTRIES: gauge_named "bazaar_frontend_cache_entries" "Stocks in the cache.";
        CACHE_CAPACITY: gauge_named "bazaar_frontend_cache_capacity" "Stocks that the cache may hold; 0 if it is off.";
        CACHE_LEASED: gauge_named "bazaar_frontend_cache_leased" "1 while the cache has a lease, else 0.";
        STREAMS_OPEN: gauge_named "bazaar_frontend_streams_open" "Clients that follow the orders (GET /orders/stream).";
        STREAM_EVENTS: counter_named "bazaar_frontend_stream_events_total" "Orders sent to clients that follow them.";
        GATEWAY_WAITING: gauge_named "bazaar_frontend_gateway_waiting" "Trades and order reads that are not answered yet.";
        GATEWAY_WAITING_MAX: gauge_named "bazaar_frontend_gateway_waiting_max"
            "Trades and order reads that may wait at a time (frontend.queued_trades_max).";
        GATEWAY_SENT_TRADES: counter_named "bazaar_frontend_gateway_sent_trades_total"
            "Trades sent to a leader, repeats included.";
        GATEWAY_SENT_REQUESTS: counter_named "bazaar_frontend_gateway_sent_trade_requests_total"
            "Requests that carried trades to a leader.";
        GATEWAY_QUEUE_SECONDS: histogram_named "bazaar_frontend_gateway_queue_seconds"
            "How long the first trade of a request waited until it was sent; for one that is sent again, since it arrived.";
        GATEWAY_CALL_SECONDS: histogram_named "bazaar_frontend_gateway_call_seconds"
            "From sending a request with trades to the leader's answer.";
        GATEWAY_FAILED_CALLS: counter_named "bazaar_frontend_gateway_failed_calls_total"
            "Requests to a leader that failed.";
        GATEWAY_NEW_LEADERS: counter_named "bazaar_frontend_gateway_new_leaders_total" "Times that a leader was found.";
        GATEWAY_OVERLOADED: counter_named "bazaar_frontend_gateway_overloaded_total"
            "Trades, batches and reads refused because too many wait.";
        GATEWAY_LEADER_ID: gauge_named "bazaar_frontend_gateway_leader_id" "The replica that work goes to; 0 for none.";
    }
}
