"""Settings: every bad key at once, what makes no sense together with the reason, defaults in one place."""

import ipaddress

import pytest
import yaml

from infra.settings.database import DatabaseSettings, Engine, InstanceSize, ServerlessSize
from infra.settings.delivery import ReviewSettings, State
from infra.settings.edge import EdgeSettings
from infra.settings.images import ImageSettings
from infra.settings.network import Nat, NetworkSettings
from infra.settings.observability import ObservabilitySettings
from infra.settings.schedule import AwakeHours
from infra.settings.seed import Sample
from infra.settings.services import (
    ApiSettings,
    Architecture,
    LoaderSettings,
    Rollout,
    ServiceSize,
    TaskSettings,
)
from infra.settings.stack import Settings, SettingsError, read_settings
from infra.settings.storage import StorageSettings
from stacks.mock_engine import (
    AURORA,
    IMAGES,
    PROJECT,
    REGISTRY,
    ROOT,
    STACKS,
    Run,
    infra,
    read_yaml,
    run_program,
    stack_config,
)

PUBLIC_KEY = f"ssh-ed25519 {'A' * 68} me@example.com"
KEYS = sorted(read_yaml("Pulumi.yaml")["config"])


def read(stack: str, **changes: str) -> Settings:
    return read_settings(PROJECT, stack, stack_config(stack, changes))


def faults(stack: str, **changes: str) -> list[str]:
    """The lines with which the settings of a stack are refused after some changes."""
    with pytest.raises(SettingsError) as refused:
        read(stack, **changes)
    head, *lines = str(refused.value).splitlines()
    assert head == f"the configuration of stack {stack} cannot be used:"
    return sorted(line.strip() for line in lines)


def test_a_stack_gets_what_its_file_says_and_the_defaults_for_the_rest() -> None:
    assert read("dev") == Settings(
        region="eu-west-1",
        owner="rates",
        expires=None,
        awake=AwakeHours(6, 20, "UTC"),
        network=NetworkSettings(
            cidr=ipaddress.IPv4Network("10.0.0.0/16"), zones=2, nat=Nat.NONE, flow_log_days=0
        ),
        database=DatabaseSettings(
            engine=Engine.POSTGRES,
            version="18",
            size=InstanceSize("db.t4g.micro", storage_gib=20, storage_gib_max=50),
            multi_az=False,
            readers=0,
            backup_days=1,
            deletion_protection=False,
            final_snapshot=False,
            apply_immediately=True,
            production=False,
        ),
        production=False,
        seed=Sample(),
        storage=StorageSettings(batch_days=30, version_days=7, upload_origins=(), production=False),
        images=ImageSettings(api=None, loader=None, kept=20, production=False),
        edge=EdgeSettings(domain=None, requests_per_address=None, access_log_days=0, production=False),
        tasks=TaskSettings(architecture=Architecture.X86_64, log_days=7),
        api=ApiSettings(
            size=ServiceSize(cpu=256, memory_mib=512, tasks_min=1, tasks_max=2, spot=True),
            requests_per_task=3000,
            rollout=Rollout.ROLLING,
            origins=(),
            limit=None,
            private_batches=True,
        ),
        loader=LoaderSettings(
            size=ServiceSize(cpu=1024, memory_mib=2048, tasks_min=0, tasks_max=2, spot=True),
            backlog_per_task=2,
            storage_gib=21,
        ),
        observability=ObservabilitySettings(
            dashboard=False, alarms=False, alarm_email=None, container_insights=False
        ),
        bastion=None,
        delivery=None,
        review=ReviewSettings("example/rates", State("s3://example-rates-state", None), False),
    )


def test_an_aurora_stack_has_a_range_of_capacity_for_its_size() -> None:
    database = read("dev", **AURORA | {"databaseAcusMin": "0.5"}).database

    assert database.size == ServerlessSize(acus_min=0.5, acus_max=4)
    assert database.engine is Engine.AURORA


def test_every_bad_key_is_named_at_once_with_what_was_found_and_what_is_allowed() -> None:
    bad = {
        "production": "yes",
        "owner": "",
        "expires": "soon",
        "awakeHours": "7-8pm",
        "timeZone": "",
        "databaseReaders": "16",
        "seed": "dump.sql",
        "domain": "Rates",
        "domainZoneId": "example.com",
        "requestsPerAddress": "9",
        "accessLogDays": "2",
        "apiRollout": "blue",
        "apiOrigins": "* https://app.example.com",
        "apiLimit": "0/minute",
        "apiPrivateBatches": "no",
        "dashboard": "1",
        "alarms": "on",
        "alarmEmail": "me",
        "containerInsights": "yes",
        "bastion": "ssh",
        "bastionPublicKey": "AAAA",
        "repository": "https://github.com/example/rates",
        "deliveryBranch": "-main",
        "stateBackend": "file://state",
        "stateKeyArn": "alias/state",
        "review": "always",
        "githubProvider": "no",
        "vpcCidr": "8.8.8.0/24",
        "zones": "1",
        "natGateways": "two",
        "flowLogDays": "8",
        "databaseEngine": "mysql",
        "databaseVersion": "14",
        "databaseInstanceClass": "t4g.micro",
        "databaseStorageGib": "5",
        "databaseStorageGibMax": "lots",
        "databaseAcusMin": "0.7",
        "databaseAcusMax": "257",
        "databaseMultiAz": "1",
        "databaseBackupDays": "36",
        "databaseDeletionProtection": "True",
        "databaseFinalSnapshot": "no",
        "databaseApplyImmediately": "",
        "batchDays": "0",
        "batchVersionDays": "-1",
        "uploadOrigins": "https://app.example.com http://other.example.com",
        "imagesKept": "5",
        "cpuArchitecture": "arm64",
        "logDays": "0",
        "apiCpu": "300",
        "apiMemoryMib": "511",
        "apiTasksMin": "0",
        "apiTasksMax": "501",
        "apiSpot": "maybe",
        "apiRequestsPerTask": "0",
        "loaderCpu": "",
        "loaderMemoryMib": "2 GiB",
        "loaderTasksMin": "-1",
        "loaderTasksMax": "0",
        "loaderSpot": "",
        "loaderBacklogPerTask": "0",
        "loaderStorageGib": "20",
        "apiImage": "rates-api:latest",
        "loaderImage": f"{REGISTRY}/rates-loader:v1",
    }
    assert sorted(bad) == KEYS, "a key is missing here"

    assert faults("dev", **bad) == sorted(
        [
            "rates:accessLogDays is '2': allowed is 0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180 or 365",
            "rates:alarmEmail is 'me': allowed is an address such as oncall@example.com",
            "rates:alarms is 'on': allowed is true or false",
            "rates:apiRollout is 'blue': allowed is rolling, canary or linear",
            "rates:awakeHours is '7-8pm': allowed is hours of a day, such as 07-20",
            "rates:bastion is 'ssh': allowed is true or false",
            "rates:bastionPublicKey is 'AAAA': allowed is a line of an SSH public key file",
            "rates:containerInsights is 'yes': allowed is true or false",
            "rates:dashboard is '1': allowed is true or false",
            "rates:databaseReaders is '16': allowed is 0 to 15",
            "rates:deliveryBranch is '-main': allowed is a branch such as main",
            "rates:domain is 'Rates': allowed is a name such as rates.example.com",
            "rates:domainZoneId is 'example.com': "
            "allowed is a hosted zone of Route 53, such as Z0123456789ABC",
            "rates:expires is 'soon': allowed is a day such as 2030-01-31",
            "rates:githubProvider is 'no': allowed is true or false",
            "rates:repository is 'https://github.com/example/rates': "
            "allowed is a repository on GitHub, owner/name",
            "rates:requestsPerAddress is '9': allowed is 10 to 2000000000",
            "rates:review is 'always': allowed is true or false",
            "rates:seed is 'dump.sql': "
            "allowed is none, sample, a dump as s3://BUCKET/KEY or a snapshot as arn:aws:rds:…",
            "rates:stateBackend is 'file://state': allowed is a bucket as in `pulumi login`, s3://BUCKET",
            "rates:stateKeyArn is 'alias/state': allowed is a key of KMS, arn:aws:kms:…:key/…",
            "rates:timeZone is '': allowed is one of the tz database, such as Europe/Paris",
            "rates:apiCpu is '300': allowed is 256, 512, 1024, 2048, 4096, 8192 or 16384",
            "rates:apiImage is 'rates-api:latest': "
            "allowed is an image in ECR by its digest, …amazonaws.com/…@sha256:…",
            "rates:apiLimit is '0/minute': allowed is requests a time such as 100/minute; 5000/day",
            "rates:apiMemoryMib is '511': allowed is 512 to 122880",
            "rates:apiOrigins is '* https://app.example.com': * stands for all, and alone",
            "rates:apiPrivateBatches is 'no': allowed is true or false",
            "rates:apiRequestsPerTask is '0': allowed is 1 to 1000000",
            "rates:apiSpot is 'maybe': allowed is true or false",
            "rates:apiTasksMax is '501': allowed is 1 to 500",
            "rates:apiTasksMin is '0': allowed is 1 to 500",
            "rates:batchDays is '0': allowed is 1 to 3650",
            "rates:batchVersionDays is '-1': allowed is 1 to 3650",
            "rates:cpuArchitecture is 'arm64': allowed is X86_64 or ARM64",
            "rates:databaseAcusMax is '257': allowed is 1 to 256",
            "rates:databaseAcusMin is '0.7': allowed is 0 to 256 in steps of 0.5",
            "rates:databaseApplyImmediately is '': allowed is true or false",
            "rates:databaseBackupDays is '36': allowed is 0 to 35",
            "rates:databaseDeletionProtection is 'True': allowed is true or false",
            "rates:databaseEngine is 'mysql': allowed is postgres or aurora-postgresql",
            "rates:databaseFinalSnapshot is 'no': allowed is true or false",
            "rates:databaseInstanceClass is 't4g.micro': allowed is a class such as db.t4g.micro",
            "rates:databaseMultiAz is '1': allowed is true or false",
            "rates:databaseStorageGib is '5': allowed is 20 to 65536",
            "rates:databaseStorageGibMax is 'lots': allowed is 20 to 65536",
            "rates:databaseVersion is '14': allowed is 15 to 18, alone or with a minor",
            "rates:flowLogDays is '8': allowed is 0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180 or 365",
            "rates:imagesKept is '5': allowed is 10 to 1000",
            "rates:loaderBacklogPerTask is '0': allowed is 1 to 10000",
            "rates:loaderCpu is '': allowed is 256, 512, 1024, 2048, 4096, 8192 or 16384",
            f"rates:loaderImage is '{REGISTRY}/rates-loader:v1': "
            "allowed is an image in ECR by its digest, …amazonaws.com/…@sha256:…",
            "rates:loaderMemoryMib is '2 GiB': allowed is 512 to 122880",
            "rates:loaderSpot is '': allowed is true or false",
            "rates:loaderStorageGib is '20': allowed is 21 to 200",
            "rates:loaderTasksMax is '0': allowed is 1 to 500",
            "rates:loaderTasksMin is '-1': allowed is 0 to 500",
            "rates:logDays is '0': allowed is 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180 or 365",
            "rates:natGateways is 'two': allowed is none, single or per-zone",
            "rates:owner is '': allowed is 1 to 64 letters, digits, blanks and any of _.:/=+@-",
            "rates:production is 'yes': allowed is true or false",
            "rates:uploadOrigins is 'https://app.example.com http://other.example.com': "
            "allowed is origins such as https://app.example.com, with blanks between",
            "rates:vpcCidr is '8.8.8.0/24': allowed is a private block of /16 to /22",
            "rates:zones is '1': allowed is 2 to 4; a database needs subnets in two zones",
        ]
    )


def test_a_key_nobody_reads_is_refused_and_the_likely_one_named() -> None:
    assert faults("dev", natGatways="none", colour="blue") == [
        "rates:colour is not a setting",
        "rates:natGatways is not a setting; did you mean natGateways?",
    ]


def test_keys_of_others_are_left_alone() -> None:
    config = stack_config("dev") | {"aws:profile": "me", "pulumi:tags": "{}", "rates-api:zones": "9"}

    assert read_settings(PROJECT, "dev", config) == read("dev")


@pytest.mark.parametrize("key", [*(f"rates:{key}" for key in KEYS), "aws:region"])
def test_no_key_may_be_missing(key: str) -> None:
    """The engine fills in the defaults of Pulumi.yaml; the program has none of its own to fall back on."""
    config = stack_config("dev")
    del config[key]

    with pytest.raises(SettingsError, match=f"{key} is missing: "):
        read_settings(PROJECT, "dev", config)


@pytest.mark.parametrize(
    ("stack", "changes", "fault"),
    [
        (
            "dev",
            AURORA | {"databaseEngine": "mysql"},
            "databaseEngine is 'mysql': allowed is postgres or aurora-postgresql",
        ),
        ("prod", {"databaseBackupDays": "few"}, "databaseBackupDays is 'few': allowed is 0 to 35"),
        ("prod", {"production": "false"}, "production is 'false': the stack named prod is production"),
        (
            "prod",
            {"natGateways": "single"},
            "natGateways is 'single': production takes none or per-zone: "
            "when the zone of a single one fails, all lose their way out",
        ),
        (
            "prod",
            {"databaseMultiAz": "false"},
            "databaseMultiAz is 'false': production needs it, to outlive a zone",
        ),
        (
            "prod",
            {"databaseDeletionProtection": "false"},
            "databaseDeletionProtection is 'false': production needs it, or one call deletes the data",
        ),
        (
            "prod",
            {"databaseFinalSnapshot": "false"},
            "databaseFinalSnapshot is 'false': production needs it, or what is deleted is gone for good",
        ),
        (
            "prod",
            {"databaseBackupDays": "6"},
            "databaseBackupDays is '6': production needs 7 or more, to undo a fault that is found late",
        ),
        (
            "prod",
            AURORA | {"databaseReaders": "1"},
            "databaseAcusMin is '0': production does not pause: "
            "the first request after a pause waits about 15 s",
        ),
        (
            "dev",
            {"databaseAcusMin": "0"},
            "databaseAcusMin is '0': engine postgres has none, its size is set by other keys",
        ),
        (
            "dev",
            {"databaseAcusMax": "4"},
            "databaseAcusMax is '4': engine postgres has none, its size is set by other keys",
        ),
        ("dev", {"databaseInstanceClass": ""}, "databaseInstanceClass is '': engine postgres needs it"),
        ("dev", {"databaseStorageGib": "0"}, "databaseStorageGib is '0': engine postgres needs it"),
        ("dev", {"databaseStorageGibMax": "0"}, "databaseStorageGibMax is '0': engine postgres needs it"),
        (
            "dev",
            {"databaseStorageGibMax": "21"},
            "databaseStorageGibMax is '21': RDS wants it a tenth above databaseStorageGib, 20, or more",
        ),
        (
            "dev",
            AURORA | {"databaseInstanceClass": "db.t4g.micro"},
            "databaseInstanceClass is 'db.t4g.micro': "
            "engine aurora-postgresql has none, its size is set by other keys",
        ),
        (
            "dev",
            AURORA | {"databaseStorageGib": "20"},
            "databaseStorageGib is '20': engine aurora-postgresql has none, its size is set by other keys",
        ),
        (
            "dev",
            AURORA | {"databaseAcusMin": ""},
            "databaseAcusMin is '': engine aurora-postgresql needs it",
        ),
        ("dev", AURORA | {"databaseAcusMax": "0.5"}, "databaseAcusMax is '0.5': allowed is 1 to 256"),
        ("dev", AURORA | {"databaseAcusMin": "4.5"}, "databaseAcusMin is '4.5': databaseAcusMax is only 4"),
        ("dev", AURORA | {"databaseBackupDays": "0"}, "databaseBackupDays is '0': Aurora keeps at least 1"),
        (
            "dev",
            {"apiMemoryMib": "4096"},
            "apiMemoryMib is '4096': with apiCpu 256, allowed is 512, 1024 or 2048",
        ),
        (
            "dev",
            {"apiCpu": "1024", "apiMemoryMib": "2500"},
            "apiMemoryMib is '2500': with apiCpu 1024, allowed is 2048 to 8192 in steps of 1024",
        ),
        (
            "prod",
            {"loaderTasksMin": "0"},
            "loaderTasksMin is '0': "
            "production needs 1 or more: from none, a batch waits minutes for its first task",
        ),
        (
            "dev",
            AURORA | {"loaderTasksMin": "1"},
            "loaderTasksMin is '1': "
            "databaseAcusMin is 0, and a loader that always runs would let the database never pause",
        ),
        ("dev", {"loaderTasksMin": "3"}, "loaderTasksMin is '3': loaderTasksMax is only 2"),
        ("dev", {"apiTasksMin": "3"}, "apiTasksMin is '3': apiTasksMax is only 2"),
        (
            "prod",
            {"apiTasksMin": "1"},
            "apiTasksMin is '1': production needs 2 or more, to outlive a zone",
        ),
        (
            "prod",
            {"apiSpot": "true"},
            "apiSpot is 'true': production takes none: "
            "AWS takes Spot back when it likes, from all tasks at once",
        ),
        (
            "dev",
            {"apiImage": IMAGES["apiImage"]},
            "loaderImage is '': apiImage is set, and needs its migrations",
        ),
        (
            "dev",
            {"loaderImage": IMAGES["loaderImage"]},
            "apiImage is '': loaderImage is set, and they are deployed together",
        ),
        (
            "dev",
            {"vpcCidr": "10.0.0.1/16"},
            "vpcCidr is '10.0.0.1/16': allowed is a private block of /16 to /22",
        ),
        (
            "prod",
            AURORA | {"databaseAcusMin": "2"},
            "databaseReaders is '0': production needs 1 or more, to outlive a zone",
        ),
        (
            "dev",
            AURORA | {"databaseMultiAz": "true", "awakeHours": ""},
            "databaseMultiAz is 'true': engine aurora-postgresql has readers in other zones, "
            "any of which takes over: set databaseReaders",
        ),
        (
            "dev",
            {"databaseReaders": "1"},
            "databaseReaders is '1': engine postgres has none; its standby, databaseMultiAz, answers nobody",
        ),
        (
            "dev",
            AURORA | {"awakeHours": "07-20"},
            "awakeHours is '07-20': databaseAcusMin is 0, "
            "and a database that pauses by itself is not stopped by the clock as well",
        ),
        ("dev", {"awakeHours": "20-07"}, "awakeHours is '20-07': the day has to end after it starts"),
        ("prod", {"awakeHours": "07-20"}, "awakeHours is '07-20': production never sleeps"),
        ("prod", {"expires": "2030-01-31"}, "expires is '2030-01-31': production stays"),
        ("dev", {"expires": "2030-02-31"}, "expires is '2030-02-31': there is no such day"),
        ("prod", {"seed": "sample"}, "seed is 'sample': production takes no prices that are made up"),
        (
            "dev",
            {"seed": "arn:aws:rds:eu-west-1:123456789012:cluster-snapshot:monday"},
            "seed is 'arn:aws:rds:eu-west-1:123456789012:cluster-snapshot:monday': "
            "engine postgres is made of a snapshot",
        ),
        (
            "dev",
            {"seed": "arn:aws:rds:us-east-1:123456789012:snapshot:monday"},
            "seed is 'arn:aws:rds:us-east-1:123456789012:snapshot:monday': "
            "the stack is in eu-west-1: copy the snapshot there first",
        ),
        (
            "dev",
            {"apiRollout": "canary"},
            "apiRollout is 'canary': alarms is false, "
            "and only they take it back: ECS's circuit breaker is for rolling ones",
        ),
        (
            "prod",
            {"domain": "", "domainZoneId": ""},
            "domain is '': production needs it: without there is no HTTPS",
        ),
        (
            "staging",
            {"domain": ""},
            "domain is '': domainZoneId is set, and nothing to declare in it",
        ),
        (
            "staging",
            {"domainZoneId": ""},
            "domainZoneId is '': domain is set, and declared in a hosted zone",
        ),
        ("prod", {"alarmEmail": ""}, "alarmEmail is '': production needs it, or nobody reads alarms"),
        (
            "dev",
            {"alarmEmail": "me@example.com"},
            "alarmEmail is 'me@example.com': alarms is false, so nobody would ever write to it",
        ),
        (
            "prod",
            {"containerInsights": "false"},
            "containerInsights is 'false': production needs it, to count tasks",
        ),
        (
            "dev",
            {"bastionPublicKey": PUBLIC_KEY},
            f"bastionPublicKey is '{PUBLIC_KEY}': bastion is false, so no door takes it",
        ),
        (
            "staging",
            {"repository": "", "review": "false", "githubProvider": "false"},
            "repository is '': deliveryBranch is set, and needs it",
        ),
        (
            "staging",
            {"stateBackend": "", "deliveryBranch": ""},
            "stateBackend is '': review is true, and needs it",
        ),
        (
            "staging",
            {"review": "false"},
            "githubProvider is 'true': review is false, and nothing else uses it",
        ),
        (
            "dev",
            {"vpcCidr": "10.0.0.0/8"},
            "vpcCidr is '10.0.0.0/8': allowed is a private block of /16 to /22",
        ),
    ],
)
def test_what_makes_no_sense_together_is_refused_with_the_reason(
    stack: str, changes: dict[str, str], fault: str
) -> None:
    assert faults(stack, **changes) == [f"rates:{fault}"]


@pytest.mark.parametrize("stack", ["Dev", "dev_anna", "dev--anna", "-dev", "dev-", "9lives", "d" * 33])
def test_a_stack_is_not_named_what_rds_could_not_be_named_after(stack: str) -> None:
    with pytest.raises(SettingsError, match="the stack's name is "):
        read_settings(PROJECT, stack, stack_config("dev"))


def test_a_region_that_is_none_is_refused() -> None:
    with pytest.raises(SettingsError, match="aws:region is 'europe': allowed is an AWS region"):
        read_settings(PROJECT, "dev", stack_config("dev") | {"aws:region": "europe"})


def test_bad_settings_stop_the_program_before_it_declares_anything() -> None:
    run = Run("dev")
    with pytest.raises(SettingsError, match="natGateways is 'some'"):
        run_program(infra, run, stack_config("dev", {"natGateways": "some"}))

    assert run.resources == []


def test_the_project_file_gives_each_key_a_default_of_the_type_it_declares_and_says_what_it_is() -> None:
    types = {"boolean": bool, "integer": int, "string": str}
    declarations = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]

    for key, declaration in declarations.items():
        assert type(declaration["default"]) is types[declaration["type"]], key
        assert declaration["description"], key


@pytest.mark.parametrize("stack", STACKS)
def test_a_stack_file_holds_only_what_differs_from_the_defaults(stack: str) -> None:
    defaults = {f"rates:{key}": entry["default"] for key, entry in read_yaml("Pulumi.yaml")["config"].items()}
    own = read_yaml(f"Pulumi.{stack}.yaml")["config"]

    assert [key for key, value in own.items() if defaults.get(key) == value] == []
