-- Frozen: pg_dump of a database of the first release with two syncs and their snapshots, whose hashes cover the usual types. Only the version
-- was written into CREATE EXTENSION. Do not make it anew: it stands for what users have.
--
-- PostgreSQL database dump
--


-- Dumped from database version 15.20 (Debian 15.20-0+deb12u1)
-- Dumped by pg_dump version 15.20 (Debian 15.20-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: pg_courier; Type: EXTENSION; Schema: -; Owner: -
--

CREATE EXTENSION IF NOT EXISTS pg_courier WITH SCHEMA pg_catalog VERSION '0.1.0';


--
-- Name: EXTENSION pg_courier; Type: COMMENT; Schema: -; Owner: 
--

COMMENT ON EXTENSION pg_courier IS 'reverse ETL: keeps HTTP APIs equal to views, from inside the database';


--
-- Name: shop; Type: SCHEMA; Schema: -; Owner: first_release_owner
--

CREATE SCHEMA shop;


ALTER SCHEMA shop OWNER TO first_release_owner;

--
-- Name: mood; Type: TYPE; Schema: shop; Owner: first_release_owner
--

CREATE TYPE shop.mood AS ENUM (
    'calm',
    'cross'
);


ALTER TYPE shop.mood OWNER TO first_release_owner;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: snapshot_1; Type: TABLE; Schema: courier_data; Owner: first_release_owner
--

CREATE TABLE courier_data.snapshot_1 (
    k integer NOT NULL,
    h uuid NOT NULL,
    s "char",
    mh uuid,
    mv text,
    p text,
    r text,
    t timestamp with time zone
)
WITH (fillfactor='85', autovacuum_vacuum_scale_factor='0.05');


ALTER TABLE courier_data.snapshot_1 OWNER TO first_release_owner;

--
-- Name: snapshot_2; Type: TABLE; Schema: courier_data; Owner: first_release_owner
--

CREATE TABLE courier_data.snapshot_2 (
    k uuid NOT NULL,
    h uuid NOT NULL,
    s "char",
    mh uuid,
    mv text,
    p text,
    r text,
    t timestamp with time zone,
    k1 text,
    k2 bigint
)
WITH (fillfactor='85', autovacuum_vacuum_scale_factor='0.05');


ALTER TABLE courier_data.snapshot_2 OWNER TO first_release_owner;

--
-- Name: item; Type: TABLE; Schema: shop; Owner: first_release_owner
--

CREATE TABLE shop.item (
    id integer NOT NULL,
    name text,
    price numeric,
    at timestamp with time zone,
    day date,
    doc jsonb,
    data json,
    tags text[],
    flag boolean,
    ratio double precision,
    mood shop.mood,
    raw bytea,
    u uuid
);


ALTER TABLE shop.item OWNER TO first_release_owner;

--
-- Name: item; Type: VIEW; Schema: courier_models; Owner: first_release_owner
--

CREATE VIEW courier_models.item AS
 SELECT item.id,
    item.name,
    item.price,
    item.at,
    item.day,
    item.doc,
    item.data,
    item.tags,
    item.flag,
    item.ratio,
    item.mood,
    item.raw,
    item.u
   FROM shop.item;


ALTER TABLE courier_models.item OWNER TO first_release_owner;

--
-- Name: pair; Type: TABLE; Schema: shop; Owner: first_release_owner
--

CREATE TABLE shop.pair (
    a text NOT NULL,
    b bigint NOT NULL,
    name text
);


ALTER TABLE shop.pair OWNER TO first_release_owner;

--
-- Data for Name: snapshot_1; Type: TABLE DATA; Schema: courier_data; Owner: first_release_owner
--

COPY courier_data.snapshot_1 (k, h, s, mh, mv, p, r, t) FROM stdin;
2	646fe713-5a62-eb9f-6254-86f898b47cff	\N	\N	\N	{"id":2,"name":"Grüße 2","price":2.20,"at":"2024-02-29T14:00:00+00:00","day":"2024-03-02","doc":{"a": [2], "n": 2},"data":{"b" : 2},"tags":["x",null,"2"],"flag":true,"ratio":0.6666666666666666,"mood":"calm","raw":"AAI=","u":"c81e728d-9d4c-2f63-6f06-7f89cc14862c"}	\N	\N
1	8cf2e300-3600-40da-5fa9-b842b9bf2420	\N	\N	\N	{"id":1,"name":"Grüße 1","price":1.10,"at":"2024-02-29T13:00:00+00:00","day":"2024-03-01","doc":{"a": [1], "n": 1},"data":{"b" : 1},"tags":["x",null,"1"],"flag":false,"ratio":0.3333333333333333,"mood":"cross","raw":"AAE=","u":"c4ca4238-a0b9-2382-0dcc-509a6f75849b"}	\N	\N
3	afbc7a1e-7d42-7522-a0da-4f6d974365cd	\N	\N	\N	{"id":3,"name":"Grüße 3","price":3.30,"at":"2024-02-29T15:00:00+00:00","day":"2024-03-03","doc":{"a": [3], "n": 3},"data":{"b" : 3},"tags":["x",null,"3"],"flag":false,"ratio":1,"mood":"cross","raw":"AAM=","u":"eccbc87e-4b5c-e2fe-2830-8fd9f2a7baf3"}	\N	\N
5	7706008c-4fec-a2d9-a74d-0830870ad464	\N	\N	\N	{"id":5,"name":"Grüße 5","price":5.50,"at":"2024-02-29T17:00:00+00:00","day":"2024-03-05","doc":{"a": [5], "n": 5},"data":{"b" : 5},"tags":["x",null,"5"],"flag":false,"ratio":1.6666666666666667,"mood":"cross","raw":"AAU=","u":"e4da3b7f-bbce-2345-d777-2b0674a318d5"}	\N	\N
4	0b333eb5-4e51-39ca-2f0e-b8896eeab1fe	\N	\N	\N	{"id":4,"name":"Grüße 4","price":4.40,"at":"2024-02-29T16:00:00+00:00","day":"2024-03-04","doc":{"a": [4], "n": 4},"data":{"b" : 4},"tags":["x",null,"4"],"flag":true,"ratio":1.3333333333333333,"mood":"calm","raw":"AAQ=","u":"a87ff679-a2f3-e71d-9181-a67b7542122c"}	\N	\N
6	158a7c0d-1aa5-f927-1368-bc486c78ac11	\N	\N	\N	{"id":6,"name":"Grüße 6","price":6.60,"at":"2024-02-29T18:00:00+00:00","day":"2024-03-06","doc":{"a": [6], "n": 6},"data":{"b" : 6},"tags":["x",null,"6"],"flag":true,"ratio":2,"mood":"calm","raw":"AAY=","u":"1679091c-5a88-0faf-6fb5-e6087eb1b2dc"}	\N	\N
7	578352e6-b511-de48-276a-a34aaae628cc	\N	\N	\N	{"id":7,"name":"Grüße 7","price":7.70,"at":"2024-02-29T19:00:00+00:00","day":"2024-03-07","doc":{"a": [7], "n": 7},"data":{"b" : 7},"tags":["x",null,"7"],"flag":false,"ratio":2.3333333333333335,"mood":"cross","raw":"AAc=","u":"8f14e45f-ceea-167a-5a36-dedd4bea2543"}	\N	\N
8	cfb264c6-e3e4-4092-6374-961ee5cd8409	\N	\N	\N	{"id":8,"name":"Grüße 8","price":8.80,"at":"2024-02-29T20:00:00+00:00","day":"2024-03-08","doc":{"a": [8], "n": 8},"data":{"b" : 8},"tags":["x",null,"8"],"flag":true,"ratio":2.6666666666666665,"mood":"calm","raw":"AAg=","u":"c9f0f895-fb98-ab91-59f5-1fd0297e236d"}	\N	\N
10	d3218d47-212b-b85e-85b0-87401cc28aaa	\N	\N	\N	{"id":10,"name":"Grüße 10","price":11.00,"at":"2024-02-29T22:00:00+00:00","day":"2024-03-10","doc":{"a": [10], "n": 10},"data":{"b" : 10},"tags":["x",null,"10"],"flag":true,"ratio":3.3333333333333335,"mood":"calm","raw":"AAo=","u":"d3d94468-02a4-4259-755d-38e6d163e820"}	\N	\N
11	0bc2e7c2-915f-ec86-f026-f6b0b0f5a75f	\N	\N	\N	{"id":11,"name":"Grüße 11","price":12.10,"at":"2024-02-29T23:00:00+00:00","day":"2024-03-11","doc":{"a": [11], "n": 11},"data":{"b" : 11},"tags":["x",null,"11"],"flag":false,"ratio":3.6666666666666665,"mood":"cross","raw":"AAs=","u":"6512bd43-d9ca-a6e0-2c99-0b0a82652dca"}	\N	\N
12	0818ce50-398f-d9d6-2f3b-56962c800ca7	\N	\N	\N	{"id":12,"name":"Grüße 12","price":13.20,"at":"2024-03-01T00:00:00+00:00","day":"2024-03-12","doc":{"a": [12], "n": 12},"data":{"b" : 12},"tags":["x",null,"12"],"flag":true,"ratio":4,"mood":"calm","raw":"AAw=","u":"c20ad4d7-6fe9-7759-aa27-a0c99bff6710"}	\N	\N
13	1ecae298-4d50-8d6d-7b84-84073685891c	\N	\N	\N	{"id":13,"name":"Grüße 13","price":14.30,"at":"2024-03-01T01:00:00+00:00","day":"2024-03-13","doc":{"a": [13], "n": 13},"data":{"b" : 13},"tags":["x",null,"13"],"flag":false,"ratio":4.333333333333333,"mood":"cross","raw":"AA0=","u":"c51ce410-c124-a10e-0db5-e4b97fc2af39"}	\N	\N
14	bae299f3-72a3-ec1f-7e71-88b14f8f8a0f	\N	\N	\N	{"id":14,"name":"Grüße 14","price":15.40,"at":"2024-03-01T02:00:00+00:00","day":"2024-03-14","doc":{"a": [14], "n": 14},"data":{"b" : 14},"tags":["x",null,"14"],"flag":true,"ratio":4.666666666666667,"mood":"calm","raw":"AA4=","u":"aab32389-22bc-c25a-6f60-6eb525ffdc56"}	\N	\N
15	cefc6d24-0262-a98a-0445-4cfea061f4c3	\N	\N	\N	{"id":15,"name":"Grüße 15","price":16.50,"at":"2024-03-01T03:00:00+00:00","day":"2024-03-15","doc":{"a": [15], "n": 15},"data":{"b" : 15},"tags":["x",null,"15"],"flag":false,"ratio":5,"mood":"cross","raw":"AA8=","u":"9bf31c7f-f062-936a-96d3-c8bd1f8f2ff3"}	\N	\N
16	72dd49ef-a321-4f90-a08e-1fcb4d946b1a	\N	\N	\N	{"id":16,"name":"Grüße 16","price":17.60,"at":"2024-03-01T04:00:00+00:00","day":"2024-03-16","doc":{"a": [16], "n": 16},"data":{"b" : 16},"tags":["x",null,"16"],"flag":true,"ratio":5.333333333333333,"mood":"calm","raw":"ABA=","u":"c74d97b0-1eae-257e-44aa-9d5bade97baf"}	\N	\N
9	503687d0-4e48-8e6d-43db-c7a7cea6c186	\N	\N	\N	{"id":9,"name":"Grüße 9","price":9.90,"at":"2024-02-29T21:00:00+00:00","day":"2024-03-09","doc":{"a": [9], "n": 9},"data":{"b" : 9},"tags":["x",null,"9"],"flag":false,"ratio":3,"mood":"cross","raw":"AAk=","u":"45c48cce-2e2d-7fbd-ea1a-fc51c7c6ad26"}	\N	\N
18	199df05c-c355-b5be-d6f7-878406ccf280	\N	\N	\N	{"id":18,"name":"Grüße 18","price":19.80,"at":"2024-03-01T06:00:00+00:00","day":"2024-03-18","doc":{"a": [18], "n": 18},"data":{"b" : 18},"tags":["x",null,"18"],"flag":true,"ratio":6,"mood":"calm","raw":"ABI=","u":"6f4922f4-5568-161a-8cdf-4ad2299f6d23"}	\N	\N
19	8e3f2421-146b-b07c-c155-abbf20b08fb9	\N	\N	\N	{"id":19,"name":"Grüße 19","price":20.90,"at":"2024-03-01T07:00:00+00:00","day":"2024-03-19","doc":{"a": [19], "n": 19},"data":{"b" : 19},"tags":["x",null,"19"],"flag":false,"ratio":6.333333333333333,"mood":"cross","raw":"ABM=","u":"1f0e3dad-9990-8345-f743-9f8ffabdffc4"}	\N	\N
20	880d1cf8-1790-a4bf-2606-1d72fd43cf9c	\N	\N	\N	{"id":20,"name":"Grüße 20","price":22.00,"at":"2024-03-01T08:00:00+00:00","day":"2024-03-20","doc":{"a": [20], "n": 20},"data":{"b" : 20},"tags":["x",null,"20"],"flag":true,"ratio":6.666666666666667,"mood":"calm","raw":"ABQ=","u":"98f13708-2101-94c4-7568-7be6106a3b84"}	\N	\N
21	dbd379be-9126-1a60-0a60-5e27283d3ce5	\N	\N	\N	{"id":21,"name":"Grüße 21","price":23.10,"at":"2024-03-01T09:00:00+00:00","day":"2024-03-21","doc":{"a": [21], "n": 21},"data":{"b" : 21},"tags":["x",null,"21"],"flag":false,"ratio":7,"mood":"cross","raw":"ABU=","u":"3c59dc04-8e88-5024-3be8-079a5c74d079"}	\N	\N
22	354f81a3-17e4-eddf-b26b-c68480dcf0a7	\N	\N	\N	{"id":22,"name":"Grüße 22","price":24.20,"at":"2024-03-01T10:00:00+00:00","day":"2024-03-22","doc":{"a": [22], "n": 22},"data":{"b" : 22},"tags":["x",null,"22"],"flag":true,"ratio":7.333333333333333,"mood":"calm","raw":"ABY=","u":"b6d767d2-f8ed-5d21-a44b-0e5886680cb9"}	\N	\N
23	869328ee-bece-888a-931e-fa48985d82b9	\N	\N	\N	{"id":23,"name":"Grüße 23","price":25.30,"at":"2024-03-01T11:00:00+00:00","day":"2024-03-23","doc":{"a": [23], "n": 23},"data":{"b" : 23},"tags":["x",null,"23"],"flag":false,"ratio":7.666666666666667,"mood":"cross","raw":"ABc=","u":"37693cfc-7480-49e4-5d87-b8c7d8b9aacd"}	\N	\N
24	f194fe7d-3d82-a9c6-65ea-5de68d12b1a2	\N	\N	\N	{"id":24,"name":"Grüße 24","price":26.40,"at":"2024-03-01T12:00:00+00:00","day":"2024-03-24","doc":{"a": [24], "n": 24},"data":{"b" : 24},"tags":["x",null,"24"],"flag":true,"ratio":8,"mood":"calm","raw":"ABg=","u":"1ff1de77-4005-f8da-13f4-2943881c655f"}	\N	\N
17	ef08db93-3bee-374f-4f10-91628489512d	\N	\N	\N	{"id":17,"name":"Grüße 17","price":18.70,"at":"2024-03-01T05:00:00+00:00","day":"2024-03-17","doc":{"a": [17], "n": 17},"data":{"b" : 17},"tags":["x",null,"17"],"flag":false,"ratio":5.666666666666667,"mood":"cross","raw":"ABE=","u":"70efdf2e-c9b0-8607-9795-c442636b55fb"}	\N	\N
25	5aed13bf-ea64-699f-507c-e1647316290a	\N	\N	\N	{"id":25,"name":"Grüße 25","price":27.50,"at":"2024-03-01T13:00:00+00:00","day":"2024-03-25","doc":{"a": [25], "n": 25},"data":{"b" : 25},"tags":["x",null,"25"],"flag":false,"ratio":8.333333333333334,"mood":"cross","raw":"ABk=","u":"8e296a06-7a37-5633-70de-d05f5a3bf3ec"}	\N	\N
26	32aded1b-d08b-1045-26db-68763f041e53	\N	\N	\N	{"id":26,"name":"Grüße 26","price":28.60,"at":"2024-03-01T14:00:00+00:00","day":"2024-03-26","doc":{"a": [26], "n": 26},"data":{"b" : 26},"tags":["x",null,"26"],"flag":true,"ratio":8.666666666666666,"mood":"calm","raw":"ABo=","u":"4e732ced-3463-d06d-e0ca-9a15b6153677"}	\N	\N
27	b7148595-5bff-09bf-c4c2-eadb0d3196b0	\N	\N	\N	{"id":27,"name":"Grüße 27","price":29.70,"at":"2024-03-01T15:00:00+00:00","day":"2024-03-27","doc":{"a": [27], "n": 27},"data":{"b" : 27},"tags":["x",null,"27"],"flag":false,"ratio":9,"mood":"cross","raw":"ABs=","u":"02e74f10-e032-7ad8-68d1-38f2b4fdd6f0"}	\N	\N
28	92c521f8-8ae2-0dc5-b838-218a98662a62	\N	\N	\N	{"id":28,"name":"Grüße 28","price":30.80,"at":"2024-03-01T16:00:00+00:00","day":"2024-03-28","doc":{"a": [28], "n": 28},"data":{"b" : 28},"tags":["x",null,"28"],"flag":true,"ratio":9.333333333333334,"mood":"calm","raw":"ABw=","u":"33e75ff0-9dd6-01bb-e69f-351039152189"}	\N	\N
29	65f03cb1-cf37-fb06-7eae-c51e6bc47cfa	\N	\N	\N	{"id":29,"name":"Grüße 29","price":31.90,"at":"2024-03-01T17:00:00+00:00","day":"2024-03-29","doc":{"a": [29], "n": 29},"data":{"b" : 29},"tags":["x",null,"29"],"flag":false,"ratio":9.666666666666666,"mood":"cross","raw":"AB0=","u":"6ea9ab1b-aa0e-fb9e-1909-4440c317e21b"}	\N	\N
30	ad10fffd-3947-87e7-1f06-d73e36ac4ca4	\N	\N	\N	{"id":30,"name":"Grüße 30","price":33.00,"at":"2024-03-01T18:00:00+00:00","day":"2024-03-30","doc":{"a": [30], "n": 30},"data":{"b" : 30},"tags":["x",null,"30"],"flag":true,"ratio":10,"mood":"calm","raw":"AB4=","u":"34173cb3-8f07-f89d-dbeb-c2ac9128303f"}	\N	\N
\.


--
-- Data for Name: snapshot_2; Type: TABLE DATA; Schema: courier_data; Owner: first_release_owner
--

COPY courier_data.snapshot_2 (k, h, s, mh, mv, p, r, t, k1, k2) FROM stdin;
c5de51fe-a7f7-dec0-42d4-74871e9490ec	6c98f334-ea92-9c1f-92fb-0fd0b116134e	\N	5e96e9c4-b37f-0a6e-580a-fe862d473df0	{"id":"k22"}	\N	\N	\N	k2	2
8d8beb07-3eb4-9c61-d9e5-e9ea703a9dc2	405a9a62-5c90-c940-b4eb-fd9b5ee02772	\N	b62bf09e-5685-a7da-d2d4-6d0487e615fe	{"id":"k99"}	\N	\N	\N	k9	9
31549b67-58ae-87a5-7f26-22c499a14732	cc011f7d-a837-d422-28db-f367798d8be8	\N	a852e787-e09f-9213-0c06-4e77da44db1c	{"id":"k1010"}	\N	\N	\N	k10	10
10b3320d-cc61-769b-b9dc-2c10b4e2bff3	70149b2d-5ae7-a3dc-53bc-6477b88df731	\N	b0304cd2-936a-9617-bfae-bcf96eeb81e1	{"id":"k11"}	\N	\N	\N	k1	1
6b2341b3-ca8c-f9c0-55fc-604e2149b3ae	d9ec30e1-c9c8-f0ec-2289-6e7264de6f14	\N	3113d98c-b841-45c5-c3d2-d63b66693949	{"id":"k44"}	\N	\N	\N	k4	4
db4222f4-5300-775a-fdd7-7f6087296385	da1a8109-e4d4-d3bd-c57b-87923ccb4db9	\N	8c12a23d-ef40-2aa9-18c1-2c42759107b7	{"id":"k33"}	\N	\N	\N	k3	3
14dafa70-d939-8177-0a21-778a04a6ef2d	b04751a3-fa93-805e-59d0-ea141c414dea	\N	6bcdd173-44f7-44ee-eb15-5845de72e8b2	{"id":"k66"}	\N	\N	\N	k6	6
ec09effc-d0dd-6c9e-8ae8-e123badeded7	82c8f1fa-c39c-f1f2-cf56-37396bf9166e	\N	40242ba9-c6e6-2d9b-cab8-e63f3812f07b	{"id":"k55"}	\N	\N	\N	k5	5
c48de8a5-ea39-2fd6-7bb2-23502645dfed	9ac015bf-1c2d-8f78-d32d-3d9ee0b4cdba	\N	711bbd77-b5d8-258c-4e6f-f1ad79322619	{"id":"k77"}	\N	\N	\N	k7	7
345a6f12-9290-a6f6-5787-403e307d8029	f4c13c29-1f9f-4fdb-71bf-37fa0fa9153b	\N	334a55b7-a5e3-570d-1cc9-cae15cb4c6ff	{"id":"k88"}	\N	\N	\N	k8	8
\.


--
-- Data for Name: destination; Type: TABLE DATA; Schema: courier_internal; Owner: postgres
--

COPY courier_internal.destination (destination_id, name, type, config, secrets, description, owner, created_at) FROM stdin;
1	d	http	{"base_url": "http://127.0.0.1:1/store/dump"}	{}	\N	first_release_owner	2026-11-26 02:50:19.284158-05
\.


--
-- Data for Name: source; Type: TABLE DATA; Schema: courier_internal; Owner: postgres
--

COPY courier_internal.source (source_id, name, foreign_server, description, owner, created_at) FROM stdin;
\.


--
-- Data for Name: model; Type: TABLE DATA; Schema: courier_internal; Owner: postgres
--

COPY courier_internal.model (model_id, name, source, query, relation_schema, relation_name, primary_key, description, owner, created_at) FROM stdin;
1	item	local	SELECT * FROM shop.item	courier_models	item	{id}	\N	first_release_owner	2026-11-26 02:50:19.245277-05
2	pair	local	\N	shop	pair	{a,b}	\N	first_release_owner	2026-11-26 02:50:19.270907-05
\.


--
-- Data for Name: sync; Type: TABLE DATA; Schema: courier_internal; Owner: postgres
--

COPY courier_internal.sync (sync_id, name, model_id, destination_id, mode, sync_type, object, mapping, match_on, on_removed, first_run, schedule, config, options, search_path, paused, owner, epoch, database_oid, seed, snapshot_format, created_at) FROM stdin;
1	items	1	1	mirror	objects	\N	\N	\N	delete	send	manual	{"requests": {"delete": {"path": "/{{ id }}", "method": "DELETE"}, "upsert": {"body": "{{ record }}", "path": "/{{ id }}", "method": "PUT"}}}	{"changed_fields_only": true}	first_release_owner, public, pg_temp	f	first_release_owner	383440a6-62e2-4f8b-b555-513da78ac9a4	16384	37dcf8f4-36b1-4bd9-8d55-0c6199a2a421	{"key": [{"name": "id", "type": "integer", "base_type": "integer"}], "hash": 1, "match": ["id"], "fields": [{"name": "id", "type": "integer", "expression": "\\"id\\""}, {"name": "name", "type": "text", "expression": "\\"name\\""}, {"name": "price", "type": "numeric", "expression": "\\"price\\""}, {"name": "at", "type": "timestamp with time zone", "expression": "\\"at\\""}, {"name": "day", "type": "date", "expression": "\\"day\\""}, {"name": "doc", "type": "jsonb", "expression": "\\"doc\\""}, {"name": "data", "type": "json", "expression": "\\"data\\""}, {"name": "tags", "type": "text[]", "expression": "\\"tags\\""}, {"name": "flag", "type": "boolean", "expression": "\\"flag\\""}, {"name": "ratio", "type": "double precision", "expression": "\\"ratio\\""}, {"name": "mood", "type": "shop.mood", "expression": "\\"mood\\""}, {"name": "raw", "type": "bytea", "expression": "\\"raw\\""}, {"name": "u", "type": "uuid", "expression": "\\"u\\""}], "first_run_done": true}	2026-11-26 02:50:19.297962-05
2	pairs	2	1	mirror	objects	\N	{"id": "a || b", "name": "name", "twice": "b * 2"}	{id}	delete	send	manual	{"requests": {"delete": {"path": "/{{ id }}", "method": "DELETE"}, "upsert": {"body": "{{ record }}", "path": "/{{ id }}", "method": "PUT"}}}	{}	first_release_owner, public, pg_temp	f	first_release_owner	383440a6-62e2-4f8b-b555-513da78ac9a4	16384	b2ddcf1b-45ca-4088-8c13-90c409a16905	{"key": [{"name": "a", "type": "text", "base_type": "text"}, {"name": "b", "type": "bigint", "base_type": "bigint"}], "hash": 1, "match": ["id"], "fields": [{"name": "id", "type": "text", "expression": "a || b"}, {"name": "name", "type": "text", "expression": "name"}, {"name": "twice", "type": "bigint", "expression": "b * 2"}], "first_run_done": true}	2026-11-26 02:50:19.349828-05
\.


--
-- Data for Name: alert; Type: TABLE DATA; Schema: courier_internal; Owner: postgres
--

COPY courier_internal.alert (alert_id, name, kind, sync_id, destination_id, warning, critical, channel_id, muted_until, owner, created_at) FROM stdin;
\.


--
-- Data for Name: destination_share; Type: TABLE DATA; Schema: courier_internal; Owner: postgres
--

COPY courier_internal.destination_share (destination_id, role) FROM stdin;
\.


--
-- Data for Name: destination_type; Type: TABLE DATA; Schema: courier_internal; Owner: postgres
--

COPY courier_internal.destination_type (name, definition, owner, created_at) FROM stdin;
\.


--
-- Data for Name: item; Type: TABLE DATA; Schema: shop; Owner: first_release_owner
--

COPY shop.item (id, name, price, at, day, doc, data, tags, flag, ratio, mood, raw, u) FROM stdin;
1	Grüße 1	1.10	2024-02-29 08:00:00-05	2024-03-01	{"a": [1], "n": 1}	{"b" : 1}	{x,NULL,1}	f	0.3333333333333333	cross	\\x0001	c4ca4238-a0b9-2382-0dcc-509a6f75849b
2	Grüße 2	2.20	2024-02-29 09:00:00-05	2024-03-02	{"a": [2], "n": 2}	{"b" : 2}	{x,NULL,2}	t	0.6666666666666666	calm	\\x0002	c81e728d-9d4c-2f63-6f06-7f89cc14862c
3	Grüße 3	3.30	2024-02-29 10:00:00-05	2024-03-03	{"a": [3], "n": 3}	{"b" : 3}	{x,NULL,3}	f	1	cross	\\x0003	eccbc87e-4b5c-e2fe-2830-8fd9f2a7baf3
4	Grüße 4	4.40	2024-02-29 11:00:00-05	2024-03-04	{"a": [4], "n": 4}	{"b" : 4}	{x,NULL,4}	t	1.3333333333333333	calm	\\x0004	a87ff679-a2f3-e71d-9181-a67b7542122c
5	Grüße 5	5.50	2024-02-29 12:00:00-05	2024-03-05	{"a": [5], "n": 5}	{"b" : 5}	{x,NULL,5}	f	1.6666666666666667	cross	\\x0005	e4da3b7f-bbce-2345-d777-2b0674a318d5
6	Grüße 6	6.60	2024-02-29 13:00:00-05	2024-03-06	{"a": [6], "n": 6}	{"b" : 6}	{x,NULL,6}	t	2	calm	\\x0006	1679091c-5a88-0faf-6fb5-e6087eb1b2dc
7	Grüße 7	7.70	2024-02-29 14:00:00-05	2024-03-07	{"a": [7], "n": 7}	{"b" : 7}	{x,NULL,7}	f	2.3333333333333335	cross	\\x0007	8f14e45f-ceea-167a-5a36-dedd4bea2543
8	Grüße 8	8.80	2024-02-29 15:00:00-05	2024-03-08	{"a": [8], "n": 8}	{"b" : 8}	{x,NULL,8}	t	2.6666666666666665	calm	\\x0008	c9f0f895-fb98-ab91-59f5-1fd0297e236d
9	Grüße 9	9.90	2024-02-29 16:00:00-05	2024-03-09	{"a": [9], "n": 9}	{"b" : 9}	{x,NULL,9}	f	3	cross	\\x0009	45c48cce-2e2d-7fbd-ea1a-fc51c7c6ad26
10	Grüße 10	11.00	2024-02-29 17:00:00-05	2024-03-10	{"a": [10], "n": 10}	{"b" : 10}	{x,NULL,10}	t	3.3333333333333335	calm	\\x000a	d3d94468-02a4-4259-755d-38e6d163e820
11	Grüße 11	12.10	2024-02-29 18:00:00-05	2024-03-11	{"a": [11], "n": 11}	{"b" : 11}	{x,NULL,11}	f	3.6666666666666665	cross	\\x000b	6512bd43-d9ca-a6e0-2c99-0b0a82652dca
12	Grüße 12	13.20	2024-02-29 19:00:00-05	2024-03-12	{"a": [12], "n": 12}	{"b" : 12}	{x,NULL,12}	t	4	calm	\\x000c	c20ad4d7-6fe9-7759-aa27-a0c99bff6710
13	Grüße 13	14.30	2024-02-29 20:00:00-05	2024-03-13	{"a": [13], "n": 13}	{"b" : 13}	{x,NULL,13}	f	4.333333333333333	cross	\\x000d	c51ce410-c124-a10e-0db5-e4b97fc2af39
14	Grüße 14	15.40	2024-02-29 21:00:00-05	2024-03-14	{"a": [14], "n": 14}	{"b" : 14}	{x,NULL,14}	t	4.666666666666667	calm	\\x000e	aab32389-22bc-c25a-6f60-6eb525ffdc56
15	Grüße 15	16.50	2024-02-29 22:00:00-05	2024-03-15	{"a": [15], "n": 15}	{"b" : 15}	{x,NULL,15}	f	5	cross	\\x000f	9bf31c7f-f062-936a-96d3-c8bd1f8f2ff3
16	Grüße 16	17.60	2024-02-29 23:00:00-05	2024-03-16	{"a": [16], "n": 16}	{"b" : 16}	{x,NULL,16}	t	5.333333333333333	calm	\\x0010	c74d97b0-1eae-257e-44aa-9d5bade97baf
17	Grüße 17	18.70	2024-03-01 00:00:00-05	2024-03-17	{"a": [17], "n": 17}	{"b" : 17}	{x,NULL,17}	f	5.666666666666667	cross	\\x0011	70efdf2e-c9b0-8607-9795-c442636b55fb
18	Grüße 18	19.80	2024-03-01 01:00:00-05	2024-03-18	{"a": [18], "n": 18}	{"b" : 18}	{x,NULL,18}	t	6	calm	\\x0012	6f4922f4-5568-161a-8cdf-4ad2299f6d23
19	Grüße 19	20.90	2024-03-01 02:00:00-05	2024-03-19	{"a": [19], "n": 19}	{"b" : 19}	{x,NULL,19}	f	6.333333333333333	cross	\\x0013	1f0e3dad-9990-8345-f743-9f8ffabdffc4
20	Grüße 20	22.00	2024-03-01 03:00:00-05	2024-03-20	{"a": [20], "n": 20}	{"b" : 20}	{x,NULL,20}	t	6.666666666666667	calm	\\x0014	98f13708-2101-94c4-7568-7be6106a3b84
21	Grüße 21	23.10	2024-03-01 04:00:00-05	2024-03-21	{"a": [21], "n": 21}	{"b" : 21}	{x,NULL,21}	f	7	cross	\\x0015	3c59dc04-8e88-5024-3be8-079a5c74d079
22	Grüße 22	24.20	2024-03-01 05:00:00-05	2024-03-22	{"a": [22], "n": 22}	{"b" : 22}	{x,NULL,22}	t	7.333333333333333	calm	\\x0016	b6d767d2-f8ed-5d21-a44b-0e5886680cb9
23	Grüße 23	25.30	2024-03-01 06:00:00-05	2024-03-23	{"a": [23], "n": 23}	{"b" : 23}	{x,NULL,23}	f	7.666666666666667	cross	\\x0017	37693cfc-7480-49e4-5d87-b8c7d8b9aacd
24	Grüße 24	26.40	2024-03-01 07:00:00-05	2024-03-24	{"a": [24], "n": 24}	{"b" : 24}	{x,NULL,24}	t	8	calm	\\x0018	1ff1de77-4005-f8da-13f4-2943881c655f
25	Grüße 25	27.50	2024-03-01 08:00:00-05	2024-03-25	{"a": [25], "n": 25}	{"b" : 25}	{x,NULL,25}	f	8.333333333333334	cross	\\x0019	8e296a06-7a37-5633-70de-d05f5a3bf3ec
26	Grüße 26	28.60	2024-03-01 09:00:00-05	2024-03-26	{"a": [26], "n": 26}	{"b" : 26}	{x,NULL,26}	t	8.666666666666666	calm	\\x001a	4e732ced-3463-d06d-e0ca-9a15b6153677
27	Grüße 27	29.70	2024-03-01 10:00:00-05	2024-03-27	{"a": [27], "n": 27}	{"b" : 27}	{x,NULL,27}	f	9	cross	\\x001b	02e74f10-e032-7ad8-68d1-38f2b4fdd6f0
28	Grüße 28	30.80	2024-03-01 11:00:00-05	2024-03-28	{"a": [28], "n": 28}	{"b" : 28}	{x,NULL,28}	t	9.333333333333334	calm	\\x001c	33e75ff0-9dd6-01bb-e69f-351039152189
29	Grüße 29	31.90	2024-03-01 12:00:00-05	2024-03-29	{"a": [29], "n": 29}	{"b" : 29}	{x,NULL,29}	f	9.666666666666666	cross	\\x001d	6ea9ab1b-aa0e-fb9e-1909-4440c317e21b
30	Grüße 30	33.00	2024-03-01 13:00:00-05	2024-03-30	{"a": [30], "n": 30}	{"b" : 30}	{x,NULL,30}	t	10	calm	\\x001e	34173cb3-8f07-f89d-dbeb-c2ac9128303f
\.


--
-- Data for Name: pair; Type: TABLE DATA; Schema: shop; Owner: first_release_owner
--

COPY shop.pair (a, b, name) FROM stdin;
k1	1	1
k2	2	2
k3	3	\N
k4	4	4
k5	5	5
k6	6	6
k7	7	7
k8	8	8
k9	9	9
k10	10	10
\.


--
-- Name: alert_alert_id_seq; Type: SEQUENCE SET; Schema: courier_internal; Owner: postgres
--

SELECT pg_catalog.setval('courier_internal.alert_alert_id_seq', 1, false);


--
-- Name: destination_destination_id_seq; Type: SEQUENCE SET; Schema: courier_internal; Owner: postgres
--

SELECT pg_catalog.setval('courier_internal.destination_destination_id_seq', 1, true);


--
-- Name: model_model_id_seq; Type: SEQUENCE SET; Schema: courier_internal; Owner: postgres
--

SELECT pg_catalog.setval('courier_internal.model_model_id_seq', 2, true);


--
-- Name: source_source_id_seq; Type: SEQUENCE SET; Schema: courier_internal; Owner: postgres
--

SELECT pg_catalog.setval('courier_internal.source_source_id_seq', 1, true);


--
-- Name: sync_sync_id_seq; Type: SEQUENCE SET; Schema: courier_internal; Owner: postgres
--

SELECT pg_catalog.setval('courier_internal.sync_sync_id_seq', 2, true);


--
-- Name: snapshot_1 snapshot_1_pkey; Type: CONSTRAINT; Schema: courier_data; Owner: first_release_owner
--

ALTER TABLE ONLY courier_data.snapshot_1
    ADD CONSTRAINT snapshot_1_pkey PRIMARY KEY (k);


--
-- Name: snapshot_2 snapshot_2_pkey; Type: CONSTRAINT; Schema: courier_data; Owner: first_release_owner
--

ALTER TABLE ONLY courier_data.snapshot_2
    ADD CONSTRAINT snapshot_2_pkey PRIMARY KEY (k);


--
-- Name: item item_pkey; Type: CONSTRAINT; Schema: shop; Owner: first_release_owner
--

ALTER TABLE ONLY shop.item
    ADD CONSTRAINT item_pkey PRIMARY KEY (id);


--
-- Name: pair pair_pkey; Type: CONSTRAINT; Schema: shop; Owner: first_release_owner
--

ALTER TABLE ONLY shop.pair
    ADD CONSTRAINT pair_pkey PRIMARY KEY (a, b);


--
-- Name: SCHEMA courier_data; Type: ACL; Schema: -; Owner: postgres
--

GRANT ALL ON SCHEMA courier_data TO first_release_owner;


--
-- Name: SCHEMA courier_models; Type: ACL; Schema: -; Owner: postgres
--

GRANT ALL ON SCHEMA courier_models TO first_release_owner;


--
-- PostgreSQL database dump complete
--


