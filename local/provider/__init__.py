"""The local Pulumi provider ``aws``, which creates the resources of ``pulumi_aws`` at any AWS endpoint.

It implements the wire protocol of Pulumi providers and translates inputs into API calls. It does not depend on the
cloud behind the endpoint; its knowledge of AWS comes from botocore's models and the tables in ``types``.
"""
