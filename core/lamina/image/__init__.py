"""OCI images and containers on top of the layer graph.

==================  =================================================================================================
``document``        JSON from strangers, read so that nobody else reads it differently
``spec``            descriptors, manifests and indexes; ``config``: what to run, and history
``reference``       names of images; ``location``: places outside of a store
``files``           the files of a layout in a directory or an archive, never outside of it
``offer``           an image as found there, by ``layout`` (OCI) or ``docker_archive``
``progress``        how long work tells about itself
``blobs``           the blob files of a store
``shelf``           bringing blobs and layers in so that all or nothing counts; ``clearing``: away with what nobody needs
``transfer``        an offered image into the store; ``commit``: a new one; ``saving``: one out of it
``records``         the rows of images; ``image``: what they say, as values; ``checks``: whether they are true
``images``          :class:`Images`: what ``lamina image`` does
``containers``      :class:`Containers`: what ``lamina container`` does
==================  =================================================================================================
"""
