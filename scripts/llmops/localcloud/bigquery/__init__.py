"""BigQuery on a laptop: tables in the shape of bigquery-public-data.stackoverflow."""
