"""How policies are named to the simulator on the command line, and what is said of a name that is wrong."""

from pathlib import Path

import pytest

from language.scenarios import GOOD, with_policies
from steelyard import sim
from steelyard.errors import UsageError
from steelyard.sim.written import policy_of


class TestPoliciesOfTheCommandLine:
    """They stand in no line of the scenario, so that none may be blamed for them."""

    def refused(self, written: str) -> str:
        with pytest.raises(UsageError) as caught:
            sim.simulate(sim.load_text(GOOD + "requests = 100"), policies=[written])
        return str(caught.value)

    def test_a_key_that_is_needed_is_asked_for_where_it_can_be_given(self) -> None:
        told = self.refused("ring_hash")
        assert told.startswith("policy ring_hash: ring_hash needs a key")
        assert told.endswith(
            "hint: write --policy 'ring_hash:key=cookie:sid', or name it in the scenario with its key"
        )

    def test_one_of_the_same_name_in_the_scenario_is_not_blamed(self) -> None:
        own = '[{ name = "ring_hash", key = "address" }, { name = "ring_hash", key = "cookie:sid" }]'
        scenario = sim.load_text(with_policies(own))
        with pytest.raises(UsageError, match=r"\Apolicy ring_hash: ring_hash needs a key"):
            sim.simulate(scenario, policies=["ring_hash"])

    def test_settings_follow_the_name(self) -> None:
        scenario = sim.load_text(GOOD + "requests = 100")
        result = sim.simulate(scenario, policies=["maglev:key=cookie:sid,table_size=101"])
        assert [one.name for one in result.policies] == ["maglev"]

    @pytest.mark.parametrize(
        ("written", "settings"),
        [
            ('ring_hash:key="query:a,b",ring_size=64', {"key": "query:a,b", "ring_size": 64}),
            ("ring_hash:ring_size=64,key='query:a\\,\"b'", {"key": 'query:a\\,"b', "ring_size": 64}),
            (r'ring_hash:key = "query:a\",b" ,', {"key": 'query:a",b'}),
            # An apostrophe within a text is a letter of it, and so is what looks like another setting.
            ("ring_hash:key=query:it's,ring_size=64", {"key": "query:it's", "ring_size": 64}),
            ('ring_hash:key="query:a=b,ring_size=5"', {"key": "query:a=b,ring_size=5"}),
            ("bounded_hash:balance=1.5,key=path", {"balance": 1.5, "key": "path"}),
            ("random", {}),
        ],
    )
    def test_a_setting_may_hold_a_comma_in_quotes(self, written: str, settings: dict[str, object]) -> None:
        read = policy_of(written, {}, Path())
        assert read.model_dump(exclude_unset=True, exclude={"name"}) == settings

    def test_a_module_of_a_policy_s_name_is_still_a_module(self, tmp_path: Path) -> None:
        (tmp_path / "maglev.py").write_text("def key(endpoint):\n    return endpoint.in_flight\n")
        assert policy_of("maglev:key", {}, tmp_path).score is not None

    @pytest.mark.parametrize(
        ("written", "message"),
        [
            ("ring_hash:kye=address", 'policy ring_hash: kye: unknown key\nhint: did you mean "key"?'),
            ("maglev:key=address,table_size=x", "policy maglev: table_size: expected a whole number"),
            (
                "maglev:key=address,101",
                '"101" is no setting of a policy\nhint: write "maglev:101=...", or quotes around a value '
                "that holds a comma",
            ),
            (
                "random,least_request",
                'unknown policy "random,least_request"\nhint: give --policy once for each',
            ),
            ("p2c:", 'unknown policy "p2c:"\nhint: write "p2c" where there are no settings'),
            ("ring_hash:name=p2c", '"name" is no setting of a policy\nhint: the policy is ring_hash already'),
            ("ring_hash:=path", '"=path" is no setting of a policy\nhint: write "ring_hash:key=..."'),
            (
                "mine.py:score",
                "policy mine.py:score: No module named 'mine'\nhint: a module is named without \".py\"",
            ),
            ("maglev:key=address,key=path", 'the setting "key" of maglev is given twice\nhint: keep one'),
            (
                'ring_hash:key="query:a,b',
                'the quote that the value of key begins with is not closed: "query:a,b\n'
                'hint: end it with ", within quotes for the shell: --policy \'NAME:key="VALUE"\'',
            ),
            (
                "ring_hash:ring_size=5,key='path",
                "the quote that the value of key begins with is not closed: 'path\nhint: end it with ', ",
            ),
            (
                'ring_hash:key="path"x,ring_size=5',
                'after the quoted value of key stands "x,ring_size=5"\nhint: a comma separates settings',
            ),
            (
                r'ring_hash:key="a\q"',
                "the value of key is no text: unescaped '\\' in a string\nhint: in '...' every letter stands",
            ),
            (
                "ring_hash:key",
                '"ring_hash:key" gives the setting "key" no value\nhint: write \'ring_hash:key=cookie:sid\'',
            ),
            (
                "maglev:table_size",
                '"maglev:table_size" gives the setting "table_size" no value\n'
                "hint: write 'maglev:table_size=VALUE'",
            ),
            (
                "random:choise",
                'random has no setting "choise", and there is no module random for a policy in Python\n'
                'hint: did you mean "choices"?',
            ),
            (
                "ring_hash,key=path",
                'unknown policy "ring_hash,key=path"\nhint: one written in Python is "module:function", and '
                'a setting "ring_hash:key=cookie:sid"',
            ),
            ("x:", 'unknown policy "x:"\nhint: one written in Python is "module:function"'),
        ],
    )
    def test_what_is_wrong_with_them_is_told(self, written: str, message: str) -> None:
        assert self.refused(written).startswith(message)
