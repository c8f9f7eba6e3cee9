-- What the migrations add up to, written by `make schema`: to read and compare; nothing runs it.

CREATE FUNCTION public.fold_name(name text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN replace(replace(replace(replace(lower(translate(regexp_replace(NORMALIZE(name, NFKD), '[\u0300-\u036f\s]'::text, ''::text, 'g'::text), (('ẞÆŒÞøØłŁđĐðÐħĦŧŦŋŊıς'::text || '·ʻʼ‐–—‘’'::text) || '!"#$%&''()*+,-./:;<=>?@[\]^_`{|}~'::text), 'ßæœþoollddddhhttnniσ'::text)), 'ß'::text, 'ss'::text), 'æ'::text, 'ae'::text), 'œ'::text, 'oe'::text), 'þ'::text, 'th'::text);

CREATE FUNCTION public.lock_region_ports() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    LOCK TABLE region_ports IN SHARE ROW EXCLUSIVE MODE;
    RETURN NULL;
END
$$;

CREATE FUNCTION public.post_published() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO postings (posting_no) VALUES (new.batch_no) ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;

CREATE FUNCTION public.raise_version() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF EXISTS (SELECT FROM data_version WHERE xmin <> pg_current_xact_id()::xid) THEN
        UPDATE data_version SET version = version + 1, changed_at = clock_timestamp();
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION public.refresh_region_ports() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    DELETE FROM region_ports WHERE (region_slug, port_code) IN (
        SELECT region_slug, port_code FROM region_ports
        EXCEPT
        SELECT region_slug, port_code FROM region_tree_ports
    );
    INSERT INTO region_ports (region_slug, port_code)
    SELECT region_slug, port_code FROM region_tree_ports
    EXCEPT
    SELECT region_slug, port_code FROM region_ports;
    RETURN NULL;
END
$$;

CREATE FUNCTION public.tell_version() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM pg_notify('data_version', '');
    RETURN NULL;
END
$$;

CREATE TABLE public.batch_errors (
    batch_no integer NOT NULL,
    chunk_no integer NOT NULL,
    error_no integer NOT NULL,
    file text NOT NULL,
    line bigint NOT NULL,
    "column" text,
    value text,
    reason text NOT NULL
);

CREATE TABLE public.batch_events (
    batch_id uuid NOT NULL,
    event_no integer NOT NULL,
    event text NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    seconds real,
    done_by text NOT NULL
);

ALTER TABLE public.batch_events ALTER COLUMN event_no ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.batch_events_event_no_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.batches (
    batch_no integer NOT NULL,
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    key text NOT NULL,
    content_hash bytea,
    source text NOT NULL,
    state text DEFAULT 'loading'::text NOT NULL,
    chunk_rows integer NOT NULL,
    row_count bigint DEFAULT 0 NOT NULL,
    chunk_count integer DEFAULT 0 NOT NULL,
    error_count bigint DEFAULT 0 NOT NULL,
    created_by text DEFAULT SESSION_USER NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    ended_at timestamp with time zone,
    withdrawn_by text,
    deadline timestamp with time zone,
    dry_run boolean DEFAULT false NOT NULL,
    callback_url text,
    failure text,
    request_id text,
    from_dump boolean DEFAULT false NOT NULL,
    adds boolean DEFAULT false NOT NULL,
    replaces uuid,
    replaced_by uuid,
    prices_sum numeric,
    accepted_at timestamp with time zone,
    object_etag text,
    CONSTRAINT batches_chunk_rows_check CHECK ((chunk_rows > 0)),
    CONSTRAINT batches_content_hash_check CHECK ((octet_length(content_hash) = 32)),
    CONSTRAINT batches_key_check CHECK ((key <> ''::text)),
    CONSTRAINT batches_state_check CHECK ((state = ANY (ARRAY['loading'::text, 'published'::text, 'rejected'::text, 'withdrawn'::text, 'valid'::text, 'failed'::text])))
);

CREATE TABLE public.chunks (
    batch_no integer NOT NULL,
    chunk_no integer NOT NULL,
    content_hash bytea NOT NULL,
    row_count integer NOT NULL,
    error_count integer NOT NULL,
    done_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    check_seconds real DEFAULT 0 NOT NULL,
    write_seconds real DEFAULT 0 NOT NULL,
    reversed boolean DEFAULT false NOT NULL,
    prices_sum numeric,
    CONSTRAINT chunks_chunk_no_check CHECK ((chunk_no >= 0)),
    CONSTRAINT chunks_content_hash_check CHECK ((octet_length(content_hash) = 32))
);

CREATE TABLE public.plans (
    batch_no integer NOT NULL,
    content jsonb NOT NULL,
    attempts smallint DEFAULT 0 NOT NULL,
    complete boolean DEFAULT false NOT NULL,
    chunk_count integer DEFAULT 0 NOT NULL,
    next_byte bigint DEFAULT 0 NOT NULL,
    next_line bigint DEFAULT 1 NOT NULL,
    bytes_read bigint DEFAULT 0 NOT NULL
);

CREATE VIEW public.batch_status AS
 SELECT batches.batch_no,
    batches.id,
    batches.key,
    encode(batches.content_hash, 'hex'::text) AS content_hash,
    batches.source,
    batches.state,
    batches.created_by,
    batches.created_at,
    batches.ended_at,
    batches.withdrawn_by,
    batches.deadline,
    batches.dry_run,
    batches.callback_url,
    batches.failure,
    ( SELECT batch_events.at
           FROM public.batch_events
          WHERE ((batch_events.batch_id = batches.id) AND (batch_events.event = 'late'::text) AND (batches.deadline IS NOT NULL))) AS late_since,
    batches.request_id,
        CASE
            WHEN (batches.state = 'rejected'::text) THEN (0)::bigint
            ELSE COALESCE(done.row_count, batches.row_count)
        END AS row_count,
    COALESCE(done.chunk_count, batches.chunk_count) AS chunk_count,
    COALESCE(done.error_count, batches.error_count) AS error_count,
    plans.chunk_count AS chunks_planned,
    plans.complete AS planned,
        CASE
            WHEN (batches.state = ANY (ARRAY['published'::text, 'rejected'::text, 'valid'::text])) THEN (1)::double precision
            ELSE progress.share
        END AS share,
    pace.begun_at,
    (round(progress.rows_per_second))::bigint AS rows_per_second,
        CASE
            WHEN (ahead.seconds < ('1000000000'::numeric)::double precision) THEN (statement_timestamp() + make_interval(secs => ahead.seconds))
            ELSE NULL::timestamp with time zone
        END AS expected_end
   FROM (((((public.batches
     LEFT JOIN public.plans ON (((plans.batch_no = batches.batch_no) AND (batches.state = ANY (ARRAY['loading'::text, 'failed'::text])))))
     LEFT JOIN LATERAL ( SELECT begun.begun_at,
            GREATEST(begun.begun_at, (statement_timestamp() - '00:01:00'::interval)) AS since,
            (EXTRACT(epoch FROM LEAST('00:01:00'::interval, GREATEST((statement_timestamp() - begun.begun_at), '00:00:00.1'::interval))))::double precision AS seconds
           FROM ( SELECT COALESCE(max(batch_events.at), batches.created_at) AS begun_at
                   FROM public.batch_events
                  WHERE ((batch_events.batch_id = batches.id) AND (batch_events.event = ANY (ARRAY['opened'::text, 'reopened'::text, 'resumed'::text, 'redriven'::text])) AND (batches.state = 'loading'::text))) begun) pace ON (((batches.state = 'loading'::text) AND (batches.withdrawn_by IS NULL))))
     LEFT JOIN LATERAL ( SELECT COALESCE(sum(chunks.row_count), (0)::bigint) AS row_count,
            (count(*))::integer AS chunk_count,
            COALESCE(sum(chunks.error_count), (0)::bigint) AS error_count,
            COALESCE(sum(chunks.row_count) FILTER (WHERE (chunks.done_at > pace.since)), (0)::bigint) AS rows_lately
           FROM public.chunks
          WHERE ((chunks.batch_no = batches.batch_no) AND (batches.state = ANY (ARRAY['loading'::text, 'failed'::text])))) done ON ((batches.state = ANY (ARRAY['loading'::text, 'failed'::text]))))
     LEFT JOIN LATERAL ( SELECT ((done.rows_lately)::double precision / pace.seconds) AS rows_per_second,
                CASE
                    WHEN (plans.chunk_count = 0) THEN (0)::double precision
                    WHEN plans.complete THEN LEAST((1)::double precision, ((done.chunk_count)::double precision / (plans.chunk_count)::double precision))
                    WHEN (plans.chunk_count > 0) THEN LEAST((1)::double precision, ((((done.chunk_count)::double precision / (plans.chunk_count)::double precision) * (plans.bytes_read)::double precision) / (GREATEST(((plans.content ->> 'size'::text))::bigint, (1)::bigint))::double precision))
                    ELSE NULL::double precision
                END AS share) progress ON (true))
     LEFT JOIN LATERAL ( SELECT
                CASE
                    WHEN ((progress.share > (0)::double precision) AND (progress.rows_per_second > (0)::double precision)) THEN ((((done.row_count)::double precision * ((1)::double precision - progress.share)) / progress.share) / progress.rows_per_second)
                    ELSE NULL::double precision
                END AS seconds) ahead ON (true));

ALTER TABLE public.batches ALTER COLUMN batch_no ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.batches_batch_no_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.callbacks (
    batch_id uuid NOT NULL,
    outcome text NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    next_try_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    attempts smallint DEFAULT 0 NOT NULL,
    answer text,
    told_at timestamp with time zone,
    given_up_at timestamp with time zone
);

CREATE TABLE public.data_version (
    only_row boolean DEFAULT true NOT NULL,
    version bigint NOT NULL,
    changed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT data_version_only_row_check CHECK (only_row)
);

CREATE TABLE public.discards (
    batch_no integer NOT NULL,
    chunk_count integer NOT NULL
);

CREATE TABLE public.fault_kinds (
    batch_no integer NOT NULL,
    kind_no integer NOT NULL,
    chunk_no integer NOT NULL,
    "column" text,
    value text,
    reason text NOT NULL,
    row_count bigint NOT NULL,
    file text NOT NULL,
    first_lines bigint[] NOT NULL,
    probably_meant text[] NOT NULL
);

CREATE TABLE public.lane_month_deltas (
    posting_no integer NOT NULL,
    chunk_no integer NOT NULL,
    month date NOT NULL,
    orig_code text NOT NULL,
    dest_code text NOT NULL,
    days smallint[] NOT NULL,
    price_sums bigint[] NOT NULL,
    price_counts integer[] NOT NULL
);

CREATE VIEW public.lane_day_deltas AS
 SELECT lane_month_deltas.posting_no AS batch_no,
    lane_month_deltas.chunk_no,
    (lane_month_deltas.month + (of_day.day - 1)) AS day,
    of_day.price_count,
    of_day.price_sum,
    lane_month_deltas.orig_code,
    lane_month_deltas.dest_code
   FROM public.lane_month_deltas,
    LATERAL UNNEST(lane_month_deltas.days, lane_month_deltas.price_sums, lane_month_deltas.price_counts) of_day(day, price_sum, price_count);

CREATE TABLE public.lane_month_totals (
    month date NOT NULL,
    orig_code text NOT NULL,
    dest_code text NOT NULL,
    days smallint[] NOT NULL,
    price_sums bigint[] NOT NULL,
    price_counts integer[] NOT NULL,
    CONSTRAINT lane_month_totals_month_check CHECK ((EXTRACT(day FROM month) = (1)::numeric))
);

CREATE TABLE public.postings (
    posting_no integer NOT NULL,
    folding boolean DEFAULT false NOT NULL
);

CREATE VIEW public.lane_day_totals AS
 SELECT (totals.month + (of_day.day - 1)) AS day,
    of_day.price_count,
    of_day.price_sum,
    totals.orig_code,
    totals.dest_code
   FROM ( SELECT lane_month_totals.month,
            lane_month_totals.orig_code,
            lane_month_totals.dest_code,
            lane_month_totals.days,
            lane_month_totals.price_sums,
            lane_month_totals.price_counts
           FROM public.lane_month_totals
        UNION ALL
         SELECT lane_month_deltas.month,
            lane_month_deltas.orig_code,
            lane_month_deltas.dest_code,
            lane_month_deltas.days,
            lane_month_deltas.price_sums,
            lane_month_deltas.price_counts
           FROM (public.lane_month_deltas
             JOIN public.postings USING (posting_no))
          WHERE (NOT (lane_month_deltas.posting_no IN ( SELECT batches.batch_no
                   FROM public.batches
                  WHERE (batches.state = 'published'::text))))) totals,
    LATERAL UNNEST(totals.days, totals.price_sums, totals.price_counts) of_day(day, price_sum, price_count);

CREATE TABLE public.planned_chunks (
    batch_no integer NOT NULL,
    chunk_no integer NOT NULL,
    first_line bigint NOT NULL,
    begin_byte bigint NOT NULL,
    end_byte bigint NOT NULL,
    object_key text,
    attempts smallint DEFAULT 0 NOT NULL,
    failure text
);

CREATE TABLE public.ports (
    code text NOT NULL,
    name text NOT NULL,
    parent_slug text NOT NULL,
    search text GENERATED ALWAYS AS (((public.fold_name(name) || ' '::text) || public.fold_name(code))) STORED NOT NULL,
    CONSTRAINT ports_code_check CHECK ((code <> ''::text))
);

CREATE TABLE public.prices (
    batch_no integer NOT NULL,
    chunk_no integer NOT NULL,
    day date NOT NULL,
    price integer NOT NULL,
    orig_code text NOT NULL,
    dest_code text NOT NULL
);

CREATE TABLE public.region_ports (
    region_slug text NOT NULL,
    port_code text NOT NULL
);

CREATE TABLE public.regions (
    slug text NOT NULL,
    name text NOT NULL,
    parent_slug text,
    search text GENERATED ALWAYS AS (((public.fold_name(name) || ' '::text) || public.fold_name(slug))) STORED NOT NULL,
    CONSTRAINT regions_slug_check CHECK ((slug <> ''::text))
);

CREATE VIEW public.region_tree_ports AS
 WITH RECURSIVE above(region_slug, port_code) AS (
         SELECT ports.parent_slug,
            ports.code
           FROM public.ports
        UNION
         SELECT regions.parent_slug,
            above_1.port_code
           FROM (above above_1
             JOIN public.regions ON ((regions.slug = above_1.region_slug)))
          WHERE (regions.parent_slug IS NOT NULL)
        )
 SELECT region_slug,
    port_code
   FROM above;

CREATE TABLE public.schema_version (
    version_num character varying(32) NOT NULL
);

CREATE INDEX prices_chunk ON public.prices USING brin (batch_no, chunk_no) WITH (autosummarize='on');

CREATE FUNCTION public.summarize_prices() RETURNS integer
    LANGUAGE sql SECURITY DEFINER
    BEGIN ATOMIC
 SELECT brin_summarize_new_values('public.prices_chunk'::regclass) AS brin_summarize_new_values;
END;

ALTER TABLE ONLY public.batch_errors
    ADD CONSTRAINT batch_errors_pkey PRIMARY KEY (batch_no, chunk_no, error_no);

ALTER TABLE ONLY public.batch_events
    ADD CONSTRAINT batch_events_pkey PRIMARY KEY (batch_id, event_no);

ALTER TABLE ONLY public.batches
    ADD CONSTRAINT batches_id_key UNIQUE (id);

ALTER TABLE ONLY public.batches
    ADD CONSTRAINT batches_key_key UNIQUE (key);

ALTER TABLE ONLY public.batches
    ADD CONSTRAINT batches_pkey PRIMARY KEY (batch_no);

ALTER TABLE ONLY public.callbacks
    ADD CONSTRAINT callbacks_pkey PRIMARY KEY (batch_id, outcome);

ALTER TABLE ONLY public.chunks
    ADD CONSTRAINT chunks_pkey PRIMARY KEY (batch_no, chunk_no);

ALTER TABLE ONLY public.data_version
    ADD CONSTRAINT data_version_pkey PRIMARY KEY (only_row);

ALTER TABLE ONLY public.discards
    ADD CONSTRAINT discards_pkey PRIMARY KEY (batch_no);

ALTER TABLE ONLY public.fault_kinds
    ADD CONSTRAINT fault_kinds_pkey PRIMARY KEY (batch_no, kind_no);

ALTER TABLE ONLY public.lane_month_totals
    ADD CONSTRAINT lane_month_totals_pkey PRIMARY KEY (orig_code, dest_code, month);

ALTER TABLE ONLY public.planned_chunks
    ADD CONSTRAINT planned_chunks_pkey PRIMARY KEY (batch_no, chunk_no);

ALTER TABLE ONLY public.plans
    ADD CONSTRAINT plans_pkey PRIMARY KEY (batch_no);

ALTER TABLE ONLY public.ports
    ADD CONSTRAINT ports_pkey PRIMARY KEY (code);

ALTER TABLE ONLY public.postings
    ADD CONSTRAINT postings_pkey PRIMARY KEY (posting_no);

ALTER TABLE ONLY public.region_ports
    ADD CONSTRAINT region_ports_pkey PRIMARY KEY (region_slug, port_code);

ALTER TABLE ONLY public.regions
    ADD CONSTRAINT regions_pkey PRIMARY KEY (slug);

ALTER TABLE ONLY public.schema_version
    ADD CONSTRAINT schema_version_pkc PRIMARY KEY (version_num);

CREATE UNIQUE INDEX batch_events_late ON public.batch_events USING btree (batch_id) WHERE (event = 'late'::text);

CREATE INDEX batches_created_at ON public.batches USING btree (created_at);

CREATE INDEX batches_loading ON public.batches USING btree (batch_no) WHERE (state = 'loading'::text);

CREATE INDEX batches_prices_sum ON public.batches USING btree (prices_sum) WHERE (state = 'published'::text);

CREATE INDEX callbacks_open ON public.callbacks USING btree (next_try_at) WHERE ((told_at IS NULL) AND (given_up_at IS NULL));

CREATE INDEX lane_month_deltas_chunk ON public.lane_month_deltas USING brin (posting_no, chunk_no) WITH (autosummarize='on');

CREATE INDEX lane_month_deltas_lane ON public.lane_month_deltas USING btree (orig_code, dest_code, month, posting_no);

CREATE TRIGGER lock_region_ports BEFORE INSERT OR DELETE OR UPDATE ON public.ports FOR EACH STATEMENT EXECUTE FUNCTION public.lock_region_ports();

CREATE TRIGGER lock_region_ports BEFORE INSERT OR DELETE OR UPDATE ON public.regions FOR EACH STATEMENT EXECUTE FUNCTION public.lock_region_ports();

CREATE TRIGGER post_published AFTER UPDATE OF state ON public.batches FOR EACH ROW WHEN (((old.state = 'loading'::text) AND (new.state = 'published'::text))) EXECUTE FUNCTION public.post_published();

CREATE CONSTRAINT TRIGGER raise_version AFTER INSERT OR DELETE ON public.ports DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.raise_version();

CREATE CONSTRAINT TRIGGER raise_version AFTER INSERT OR DELETE ON public.regions DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.raise_version();

CREATE CONSTRAINT TRIGGER raise_version_if_changed AFTER UPDATE ON public.ports DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION public.raise_version();

CREATE CONSTRAINT TRIGGER raise_version_if_changed AFTER UPDATE ON public.regions DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION public.raise_version();

CREATE TRIGGER raise_version_when_emptied AFTER TRUNCATE ON public.ports FOR EACH STATEMENT EXECUTE FUNCTION public.raise_version();

CREATE TRIGGER raise_version_when_emptied AFTER TRUNCATE ON public.regions FOR EACH STATEMENT EXECUTE FUNCTION public.raise_version();

CREATE TRIGGER refresh_region_ports AFTER INSERT OR DELETE OR UPDATE ON public.ports FOR EACH STATEMENT EXECUTE FUNCTION public.refresh_region_ports();

CREATE TRIGGER refresh_region_ports AFTER INSERT OR DELETE OR UPDATE ON public.regions FOR EACH STATEMENT EXECUTE FUNCTION public.refresh_region_ports();

CREATE TRIGGER tell_version AFTER UPDATE ON public.data_version FOR EACH STATEMENT EXECUTE FUNCTION public.tell_version();

ALTER TABLE ONLY public.batch_errors
    ADD CONSTRAINT batch_errors_batch_no_chunk_no_fkey FOREIGN KEY (batch_no, chunk_no) REFERENCES public.chunks(batch_no, chunk_no) ON DELETE CASCADE;

ALTER TABLE ONLY public.batch_events
    ADD CONSTRAINT batch_events_batch_id_fkey FOREIGN KEY (batch_id) REFERENCES public.batches(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.callbacks
    ADD CONSTRAINT callbacks_batch_id_fkey FOREIGN KEY (batch_id) REFERENCES public.batches(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.chunks
    ADD CONSTRAINT chunks_batch_no_fkey FOREIGN KEY (batch_no) REFERENCES public.batches(batch_no) ON DELETE CASCADE;

ALTER TABLE ONLY public.fault_kinds
    ADD CONSTRAINT fault_kinds_batch_no_chunk_no_fkey FOREIGN KEY (batch_no, chunk_no) REFERENCES public.chunks(batch_no, chunk_no) ON DELETE CASCADE;

ALTER TABLE ONLY public.ports
    ADD CONSTRAINT ports_parent_slug_fkey FOREIGN KEY (parent_slug) REFERENCES public.regions(slug) DEFERRABLE INITIALLY DEFERRED;

ALTER TABLE ONLY public.region_ports
    ADD CONSTRAINT region_ports_port_code_fkey FOREIGN KEY (port_code) REFERENCES public.ports(code) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;

ALTER TABLE ONLY public.region_ports
    ADD CONSTRAINT region_ports_region_slug_fkey FOREIGN KEY (region_slug) REFERENCES public.regions(slug) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;

ALTER TABLE ONLY public.regions
    ADD CONSTRAINT regions_parent_slug_fkey FOREIGN KEY (parent_slug) REFERENCES public.regions(slug) DEFERRABLE INITIALLY DEFERRED;

REVOKE ALL ON FUNCTION public.fold_name(name text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.fold_name(name text) TO rates_api;
GRANT ALL ON FUNCTION public.fold_name(name text) TO rates_loader;

GRANT SELECT ON TABLE public.batch_errors TO rates_api;
GRANT SELECT,INSERT,DELETE ON TABLE public.batch_errors TO rates_loader;

GRANT SELECT ON TABLE public.batch_events TO rates_api;
GRANT SELECT,INSERT,UPDATE ON TABLE public.batch_events TO rates_loader;

GRANT SELECT ON TABLE public.batches TO rates_api;
GRANT SELECT,INSERT,UPDATE ON TABLE public.batches TO rates_loader;

GRANT SELECT ON TABLE public.chunks TO rates_api;
GRANT SELECT,INSERT,DELETE ON TABLE public.chunks TO rates_loader;

GRANT UPDATE(write_seconds) ON TABLE public.chunks TO rates_loader;

GRANT UPDATE(reversed) ON TABLE public.chunks TO rates_loader;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.plans TO rates_loader;

GRANT SELECT ON TABLE public.batch_status TO rates_api;
GRANT SELECT ON TABLE public.batch_status TO rates_loader;

GRANT SELECT,INSERT,UPDATE ON TABLE public.callbacks TO rates_loader;
GRANT SELECT ON TABLE public.callbacks TO rates_api;

GRANT SELECT ON TABLE public.data_version TO rates_api;
GRANT SELECT,UPDATE ON TABLE public.data_version TO rates_loader;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.discards TO rates_loader;

GRANT SELECT ON TABLE public.fault_kinds TO rates_api;
GRANT SELECT,INSERT,DELETE ON TABLE public.fault_kinds TO rates_loader;

GRANT SELECT ON TABLE public.lane_month_deltas TO rates_api;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.lane_month_deltas TO rates_loader;

GRANT SELECT ON TABLE public.lane_day_deltas TO rates_api;

GRANT SELECT ON TABLE public.lane_month_totals TO rates_api;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.lane_month_totals TO rates_loader;

GRANT SELECT ON TABLE public.postings TO rates_api;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.postings TO rates_loader;

GRANT SELECT ON TABLE public.lane_day_totals TO rates_api;

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.planned_chunks TO rates_loader;

GRANT SELECT ON TABLE public.ports TO rates_api;
GRANT SELECT,INSERT,UPDATE ON TABLE public.ports TO rates_loader;

GRANT SELECT,INSERT,DELETE ON TABLE public.prices TO rates_loader;

GRANT SELECT ON TABLE public.region_ports TO rates_api;
GRANT SELECT,INSERT,DELETE ON TABLE public.region_ports TO rates_loader;

GRANT SELECT ON TABLE public.regions TO rates_api;
GRANT SELECT,INSERT,UPDATE ON TABLE public.regions TO rates_loader;

GRANT SELECT ON TABLE public.region_tree_ports TO rates_loader;

GRANT SELECT ON TABLE public.schema_version TO rates_api;
GRANT SELECT ON TABLE public.schema_version TO rates_loader;

REVOKE ALL ON FUNCTION public.summarize_prices() FROM PUBLIC;
GRANT ALL ON FUNCTION public.summarize_prices() TO rates_loader;
