"""AWS on this machine: the Pulumi engine, a cloud that really runs jobs and endpoints, a provider.

This package speaks only the AWS API and Pulumi's plugin protocol. It knows nothing of Millrace and
imports none of the product's other packages.
"""
