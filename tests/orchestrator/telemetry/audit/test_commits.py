from orchestrator.telemetry.audit.commits import BUCKETS, Commits


def test_entries_commits_and_waits_are_counted() -> None:
    commits = Commits()
    commits.committed([0.0001, 0.003])
    commits.committed([9.0])
    commits.refused += 2
    families = {family.name: family for family in commits.families(writable=True)}
    values = {name: family.samples[0].value for name, family in families.items()}
    assert values["isthmus_audit_entries"] == 3
    assert values["isthmus_audit_commits"] == 2
    assert values["isthmus_audit_refused"] == 2
    assert values["isthmus_audit_writable"] == 1
    samples = families["isthmus_audit_commit_seconds"].samples
    buckets = [sample.value for sample in samples if sample.name.endswith("_bucket")]
    assert len(buckets) == len(BUCKETS) + 1
    assert (buckets[0], buckets[-2], buckets[-1]) == (1, 2, 3)
    assert sorted(buckets) == buckets
