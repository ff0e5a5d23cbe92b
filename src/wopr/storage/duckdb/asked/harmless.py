"""Which functions may be called in the process of the queue: those that were tried on hard values.

Each was given a megabyte of one sign, lists of 100,000 members, and JSON nested as deep, and came
to an end soon, in little memory, and without a crash. DuckDB has functions that do not: nothing
can stop them, one that crashes takes the owner with it, and nobody knows those of its next
release. So what is on no list here runs in a process apart.
"""

from __future__ import annotations


def words(text: str) -> frozenset[str]:
    """Return the words of a text."""
    return frozenset(text.split())


AGGREGATES = words(
    """
    any_value approx_count_distinct approx_quantile arbitrary arg_max arg_max_null arg_min
    arg_min_null argmax argmin array_agg avg bit_and bit_or bit_xor bool_and bool_or corr count
    count_if count_star countif covar_pop covar_samp cume_dist dense_rank entropy favg fill first
    first_value fsum geomean geometric_mean group_concat histogram kahan_sum kurtosis
    kurtosis_pop lag last last_value lead list listagg mad max max_by mean median min min_by mode
    nth_value ntile percent_rank product quantile quantile_cont quantile_disc rank rank_dense
    regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy
    row_number sem skewness stddev stddev_pop stddev_samp string_agg sum sum_no_overflow sumkahan
    var_pop var_samp variance wavg weighted_avg
    """
)
NUMBERS = words(
    """
    - * / // % ** ^ @ & | ~ << >> abs acos asin atan atan2 bit_count cbrt ceil ceiling cos cot
    degrees divide even exp factorial fdiv floor fmod gcd greatest isfinite isinf isnan lcm least
    ln log log10 log2 mod multiply nextafter pi pow power radians round round_even roundbankers
    sign signbit sin sqrt subtract tan trunc xor
    """
)
TEXTS = words(
    """
    !~~ !~~* ^@ ascii char_length character_length chr contains ends_with format_bytes
    hash ilike_escape instr lcase left len length
    like_escape lower ltrim md5 not_ilike_escape not_like_escape octet_length ord pg_typeof
    position prefix reverse right rtrim sha1 sha256 split_part starts_with strlen strpos substr
    substring suffix trim typeof ucase unicode upper ~~ ~~* ~~~
    """
)
TIMES = words(
    """
    age century date_add date_diff date_part date_sub date_trunc datediff datepart datesub
    datetrunc day dayname dayofmonth dayofweek dayofyear decade epoch epoch_ms epoch_ns epoch_us
    era hour isodow isoyear julian last_day make_date make_time make_timestamp make_timestamp_ms
    make_timestamp_ns microsecond millennium millisecond minute month monthname nanosecond quarter
    second strftime time_bucket timezone_hour timezone_minute to_centuries to_days
    to_decades to_hours to_microseconds to_millennia to_milliseconds to_minutes to_months
    to_quarters to_seconds to_timestamp to_weeks to_years uuid_extract_timestamp
    uuid_extract_version week weekday weekofyear year yearweek
    """
)
NESTED = words(
    """
    && <@ @> array_contains array_distinct array_extract
    array_has array_has_all array_has_any array_indexof array_intersect
    array_length array_position array_reverse_sort array_slice
    array_sort array_unique cardinality element_at flatten json json_array_length
    json_group_array json_group_object json_keys json_type json_valid list_avg list_contains
    list_count list_distinct list_element list_extract list_first list_has list_has_all
    list_has_any list_indexof list_intersect list_last list_max list_min list_position
    list_reverse_sort list_slice list_sort list_sum list_unique map_entries map_extract
    map_keys map_values struct_extract struct_extract_at unnest
    """
)
OTHERS = words("alias error if nullif")
HARMLESS = AGGREGATES | NUMBERS | TEXTS | TIMES | NESTED | OTHERS
FLAT = words(
    """
    bigint bit blob bool boolean date decimal double float float4 float8 hugeint int int1 int128
    int16 int2 int32 int4 int64 int8 integer interval long numeric real short signed smallint time
    timestamp timestamp_ms timestamp_ns timestamp_s timetz tinyint ubigint uhugeint uinteger
    uint128 uint16 uint32 uint64 uint8 usmallint utinyint uuid
    """
)
"""Types whose values are as long as what they are cast from, or shorter. A text of a list puts
quotes around its texts, and signs before the quotes in them: each such cast doubles those."""
ZONED = frozenset({"timestamptz", "timestamp with time zone"})
"""Types to which no text should be cast but one that stands there: it may name a zone."""
TYPES = FLAT | ZONED | words("array char enum json list map null row string struct text varchar")
