import steelyard


def test_the_package_knows_its_version() -> None:
    assert steelyard.__version__ == "0.1.0"
