"""The Pulumi provider ``aws`` of this machine: the resources of ``pulumi_aws``, made behind any AWS endpoint.

It owns the wire protocol of Pulumi providers and the translation of inputs into API calls. It knows nothing of the
cloud behind the endpoint, and of AWS only what botocore's models and the tables in ``types`` say.
"""
