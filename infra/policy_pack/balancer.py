"""What the load balancer takes from clients: sound headers, modern TLS, plain HTTP only to send them on."""

import re
from collections.abc import Iterator

from infra.policy_pack.rule import Declared, Stack, about, about_stack, dig

LOAD_BALANCER = "aws:lb/loadBalancer:LoadBalancer"
LISTENER = "aws:lb/listener:Listener"
LISTENER_RULE = "aws:lb/listenerRule:ListenerRule"
# Policies of Elastic Load Balancing under which no client speaks less than TLS 1.2.
MODERN = re.compile(r"ELBSecurityPolicy-(TLS13-1-[23]|TLS-1-2|FS-1-2)-.+")


@about(
    "balancer-drops-invalid-headers",
    "A header that two servers read differently lets a request be smuggled past the first.",
    LOAD_BALANCER,
)
def drops_invalid_headers(balancer: Declared) -> Iterator[str]:
    found = balancer.inputs.get("dropInvalidHeaderFields")
    if balancer.inputs.get("loadBalancerType", "application") == "application" and found is not True:
        yield f"found dropInvalidHeaderFields {found}: allowed is true"


@about(
    "listener-speaks-modern-tls",
    "TLS before 1.2 can be broken, and where no policy is named AWS still speaks it.",
    LISTENER,
)
def modern_tls(listener: Declared) -> Iterator[str]:
    policy = listener.inputs.get("sslPolicy")
    if listener.inputs.get("protocol") in ("HTTPS", "TLS") and not MODERN.fullmatch(policy or ""):
        yield f"found sslPolicy {policy}: allowed is ELBSecurityPolicy-TLS13-1-2-… or newer"


@about_stack(
    "http-only-redirects",
    "Where there is HTTPS, what is asked over plain HTTP can be read and changed on its way for no reason.",
)
def http_only_redirects(stack: Stack) -> Iterator[tuple[Declared, str]]:
    for balancer in stack.all(LOAD_BALANCER):
        listeners = stack.pointing(LISTENER, "loadBalancerArn", balancer)
        if not any(each.inputs.get("protocol") == "HTTPS" for each in listeners):
            continue
        for plain in [each for each in listeners if each.inputs.get("protocol") == "HTTP"]:
            rules = stack.pointing(LISTENER_RULE, "listenerArn", plain)
            actions = dig(plain.inputs, "defaultActions.type")
            actions += [action for rule in rules for action in dig(rule.inputs, "actions.type")]
            if other := sorted(set(actions) - {"redirect"}):
                yield plain, f"found {', '.join(other)} on plain HTTP: allowed is redirect"
